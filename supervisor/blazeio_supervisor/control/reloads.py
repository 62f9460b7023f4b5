"""Who asked for a reload, and what became of it.

The planner knows tickets; here each belongs to somebody, who is told. May
import: the words of the fleet.
"""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.actions import SUPERSEDED, ReloadEnded
from blazeio_supervisor.fleet.facts import Fact, ReloadAsked
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.logs import FramesPrinter
from blazeio_supervisor.options.in_force import SettingsInForce


class Outcome(Struct, frozen=True):
    """How a reload ended.

    Attributes:
        output: What the app raised in the new processes; "" when it is ok.
        needs_restart: Settings that have changed, and not in this service.
    """

    generation: int
    is_ok: bool
    reason: str
    output: str
    took_s: float
    needs_restart: tuple[str, ...] = ()


class _Ask(Struct, frozen=True):
    by: str
    at: float
    outcome: asyncio.Future[Outcome]


class Reloads:
    """The asks that are open.

    Args:
        tell: Takes the fact.
        frames: Knows what the app raised.
        in_force: The settings, which are read again with each ask.
    """

    def __init__(
        self,
        tell: Callable[[Fact], None],
        frames: FramesPrinter,
        in_force: SettingsInForce,
    ) -> None:
        self._tell = tell
        self._frames = frames
        self._in_force = in_force
        self._tickets = 0
        self._open: dict[int, _Ask] = {}

    def ask(self, by: str) -> asyncio.Future[Outcome]:
        """Ask for a reload; settings that cannot be fail it at once.

        Args:
            by: Who, for the log.

        Returns:
            Its outcome, which nobody has to await.
        """
        self._tickets += 1
        outcome = asyncio.get_running_loop().create_future()
        try:
            self._in_force.read_again()
        except UsageError as error:
            text = f"{by} asked for a reload, nothing has changed: {error}"
            note("reload_not_ok", text, "ERROR")
            outcome.set_result(Outcome(0, False, str(error), "", 0.0))
            return outcome
        self._open[self._tickets] = _Ask(by, time.monotonic(), outcome)
        self._tell(ReloadAsked(self._tickets, by))
        return outcome

    def end(self, ended: ReloadEnded) -> None:
        """Tell whoever asked."""
        ask = self._open.pop(ended.ticket)
        took_s = time.monotonic() - ask.at
        generation = ended.generation
        by = f"the reload that {ask.by} asked for"
        if ended.is_ok:
            note("reload_ok", f"{by} took {took_s:.1f} s", generation=generation)
        elif ended.reason == SUPERSEDED:
            text = f"{by} is overtaken by a later one"
            note("reload_superseded", text, generation=generation)
        else:
            # Why is said once, by whoever decided it.
            note("reload_not_ok", f"{by} has failed", generation=generation)
        output = "" if ended.is_ok else self._frames.said_by(ended.generation)
        if not ask.outcome.done():  # else whoever waited has left
            ask.outcome.set_result(
                Outcome(
                    ended.generation,
                    ended.is_ok,
                    ended.reason,
                    output,
                    took_s,
                    self._in_force.needs_restart,
                )
            )
