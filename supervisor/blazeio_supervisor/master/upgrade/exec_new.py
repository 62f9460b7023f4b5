"""The exec of the next image of the master: asked for, rehearsed, done.

::

    ask -> settle, rehearse the new image and the way back -> answer
                                   '-> block signals, settle, dump the state, exec

Every failure before the exec leaves everything as it is. After it, stage 0 comes
back to the kept image.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from blazeio_supervisor.errors import count_of
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.upgrade.image import ImageKeeper, KeptImage, Launch, seal
from blazeio_supervisor.master.upgrade.stage0 import OK
from blazeio_supervisor.version import find_version

# One upgrade: who asked for it, and what became of it.


class UpgradeRun(Struct, frozen=True, kw_only=True):
    """The upgrade itself.

    Attributes:
        number: The number of this upgrade, from 1 on.
        by: Who has asked for it.
        began_at: Monotonic seconds.
        signal_mask: What was blocked before everything was; for an exec.
    """

    number: int
    by: str
    began_at: float
    signal_mask: list[int] = []


class UpgradeOutcome(Struct, frozen=True):
    """What became of an upgrade, or of its rehearsal.

    Attributes:
        number: The number of the upgrade; 0: none was begun.
        is_over: False: the exec is about to happen.
        reason: Why it failed; the old code goes on.
        output: The traceback of an unforeseen exception in the new code.
        program: The version that took over, or would.
        took_s: From the order on.
    """

    number: int = 0
    is_over: bool = True
    is_ok: bool = False
    reason: str = ""
    output: str = ""
    program: str = ""
    took_s: float = 0.0


# A child that does all that the next image will do, but for taking over.


_SLACK_S = 1.0
"""It ends itself at its deadline; one that is still there then hangs in C code."""
_WORD_BYTES = 65536


class RehearsalError(Exception):
    """A rehearsal has failed.

    Args:
        reason: Why, in one line.
        frames: The traceback of an unforeseen exception.
    """

    def __init__(self, reason: str, frames: str = "") -> None:
        super().__init__(reason)
        self.frames = frames


async def rehearse(
    reaper: Reaper, launch: Launch, pipe: tuple[int, int], fds: Sequence[int]
) -> str:
    """Run one rehearsal; return the version that would take over.

    Args:
        reaper: Watches the child.
        launch: What is started; it has the descriptor of ``pipe``.
        pipe: Its result comes here; closed in the end.
        fds: The descriptors that the child inherits, by the same numbers.

    Raises:
        RehearsalError: It failed, or took too long.
    """
    reader, writer = pipe
    try:
        pid = _spawn(launch, [*fds, writer])
    except OSError as error:
        os.close(reader)
        reason = f"cannot start {launch.words[0]}: {error.strerror}"
        raise RehearsalError(reason) from error
    finally:
        os.close(writer)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def note_end(status: int) -> None:
        if not ended.done():
            ended.set_result(status)

    # Watched like any child: else it would be reaped as an orphan, and its status be
    # lost.
    reaper.watch(pid, note_end)
    try:
        async with asyncio.timeout(launch.timeout_s + _SLACK_S):
            status = await ended
        word = os.read(reader, _WORD_BYTES).decode(errors="replace")
    except TimeoutError:
        reason = f"it did not begin within {launch.timeout_s:g} s, and hung"
        raise RehearsalError(reason) from None
    finally:
        reaper.send_signal(pid, signal.SIGKILL)  # nobody waits for it any more
        os.close(reader)
    # Both: a child that was killed after its word has not shown that it gets to its
    # end.
    if status != 0 or not word.startswith(OK):
        reason, _, frames = word.partition("\n")
        silence = f"it ended with status {status}, and said nothing"
        raise RehearsalError(reason or silence, frames)
    return word.removeprefix(OK)


def _spawn(launch: Launch, fds: Sequence[int]) -> int:
    return os.posix_spawn(
        launch.interpreter,
        launch.words,
        launch.environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds],  # inheritable
        setsigmask=signal.valid_signals(),
    )


Done = TypeVar("Done")

ANSWER_S = 0.05
"""From the answer to the exec, which closes the connection of the client."""
SETTLE_S = 2.0
"""The upgrade is refused if a process has not read its orders by then."""
_SETTLE_EVERY_S = 0.01


class SupportsSettled(Protocol):
    """A part that exchanges messages with other processes."""

    @property
    def is_settled(self) -> bool:
        """Whether it has read, and sent, all that there is."""


class Upgrades:
    """The upgrades of one service; at most one is under way.

    Args:
        planner: Knows what must be over first.
        parts: Those that exchange messages: none may lie unread or unsent.
        pack: Returns all that goes over: a state, and the descriptors named in it.
        reaper: Watches the rehearsals.
        keeper: Keeps the running program; without it no upgrade begins.
        timeout_s: For a rehearsal, and for the next image to begin.

    Attributes:
        timeout_s: As given; a reload may change it.
        keeper: As given.
        last: The outcome of the last upgrade.
    """

    def __init__(
        self,
        planner: Planner,
        parts: Sequence[SupportsSettled],
        pack: Callable[[UpgradeRun, KeptImage], tuple[bytes, list[int]]],
        reaper: Reaper,
        keeper: ImageKeeper,
        timeout_s: float,
    ) -> None:
        self._planner = planner
        self._parts = parts
        self._pack = pack
        self._reaper = reaper
        self.timeout_s = timeout_s
        self.keeper = keeper
        self._is_busy = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.last = UpgradeOutcome()

    def note_outcome(
        self, run: UpgradeRun, left: KeptImage, workers: int, failure: str
    ) -> None:
        """Report what became of the upgrade that has started this image.

        Args:
            run: That upgrade.
            left: The image before.
            workers: The number of workers that were taken over.
            failure: Why the new image did not take over, if this is the old one again;
                else "".
        """
        program = left.program if failure else find_version()
        self.last = UpgradeOutcome(
            number=run.number,
            is_ok=not failure,
            reason=failure,
            program=program,
            took_s=time.monotonic() - run.began_at,
        )
        kept = f"pid {os.getpid()} and {count_of(workers, 'worker')} kept"
        if failure:
            self.keeper.use(left)
            text = f"the new code did not begin: {failure}"
            _note_failure(run.by, f"{text}; the old code is back, {kept}")
            return
        text = f"blazeio {program} in place of {left.program}, {kept}"
        note("upgraded", f"asked for by {run.by}: {text}")

    # Asking

    def ask(self, by: str) -> None:
        """Upgrade, without an answer to whoever has asked."""
        self._begin(self._upgrade(by))

    async def check(self, by: str) -> UpgradeOutcome:
        """Only rehearse."""
        outcome, _ = await self._try(by)
        what = f"blazeio {outcome.program} could take over"
        text = f"asked for by {by}: {outcome.reason or what}"
        note("upgrade_checked", text, traceback=outcome.output)
        return outcome

    async def upgrade(self, by: str) -> UpgradeOutcome:
        """Rehearse; when that went well, the exec comes soon after the answer.

        It goes on when whoever asked no longer waits.
        """
        # A client that leaves cancels the handler, which must not end the upgrade.
        return await asyncio.shield(self._begin(self._upgrade(by)))

    async def _upgrade(self, by: str) -> UpgradeOutcome:
        outcome, run = await self._try(by)
        if not outcome.is_ok:
            text = f"{outcome.reason}; nothing has changed"
            _note_failure(by, text, outcome.output)
            return outcome
        self._is_busy = True
        self.last = replace(outcome, number=run.number, is_over=False)
        self._begin(self._leave(run))
        return self.last

    def _begin(self, doing: Coroutine[Any, Any, Done]) -> asyncio.Task[Done]:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The rehearsal

    async def _try(self, by: str) -> tuple[UpgradeOutcome, UpgradeRun]:
        began_at = time.monotonic()
        run = UpgradeRun(number=self.last.number + 1, by=by, began_at=began_at)
        if self._is_busy:
            return UpgradeOutcome(reason="an upgrade is under way"), run
        self._is_busy = True
        try:
            program = await self._rehearse(run)
        except RehearsalError as error:
            return UpgradeOutcome(reason=str(error), output=error.frames), run
        finally:
            self._is_busy = False
        took_s = time.monotonic() - began_at
        return UpgradeOutcome(is_ok=True, program=program, took_s=took_s), run

    async def _rehearse(self, run: UpgradeRun) -> str:
        """Rehearse both images at once; return the version of the new one.

        Raises:
            RehearsalError: The upgrade would fail.
        """
        image = await self._settle()
        state_fd, fds = self._write(run, image)
        new_pipe, old_pipe = os.pipe(), os.pipe()
        new = Launch.of_new(image, state_fd, self.timeout_s, new_pipe[1])
        old = Launch.of_old(image, state_fd, self.timeout_s, old_pipe[1])
        try:
            # The way back is rehearsed as well, and at the same time: a new image that
            # fails after the exec has nothing else.
            there, back = await asyncio.gather(
                rehearse(self._reaper, new, new_pipe, fds),
                rehearse(self._reaper, old, old_pipe, fds),
                return_exceptions=True,
            )
        finally:
            os.close(state_fd)
        if isinstance(there, BaseException):
            raise _pass_on("the new code cannot take over", there) from there
        if isinstance(back, BaseException):
            raise _pass_on("there is no way back", back) from back
        return there

    async def _settle(self) -> KeptImage:
        """Wait until nothing is under way that an exec would lose.

        Raises:
            RehearsalError: That takes too long.
        """
        give_up_at = time.monotonic() + SETTLE_S
        if self._planner.is_held:
            give_up_at += self._planner.policy.hold_s
        while True:
            # The loop runs before each look: signals that were sent become facts, and
            # messages that have come are read.
            await asyncio.sleep(_SETTLE_EVERY_S)
            obstacle = self._planner.why_not_upgrade() or self._why_not_kept()
            if obstacle and not self._planner.is_held:
                raise RehearsalError(obstacle)
            image = self.keeper.image
            if not obstacle:
                if image is None:
                    obstacle = "the running program is being kept"
                elif not all(party.is_settled for party in self._parts):
                    obstacle = "a process does not read its orders"
                else:
                    return image
            if time.monotonic() >= give_up_at:
                raise RehearsalError(f"{obstacle}: try again")

    def _why_not_kept(self) -> str:
        keeper = self.keeper
        keeper.begin()  # unless it has, or is not to
        if keeper.image is None and keeper.settled.is_set():
            return "the running program could not be kept at its start"
        return ""

    def _write(self, run: UpgradeRun, image: KeptImage) -> tuple[int, list[int]]:
        """Write the state; return its descriptor, and all descriptors that go over."""
        octets, fds = self._pack(run, image)
        state_fd = seal("blazeio-state", octets)
        return state_fd, [state_fd, *fds]

    # The exec

    async def _leave(self, run: UpgradeRun) -> None:
        # The connection of the client does not go over: its answer must have left by
        # then.
        await asyncio.sleep(ANSWER_S)
        # From here on no signal may become a call in this image, which an exec would
        # lose. One that is blocked stays pending over it (signal(7)), and comes in the
        # next image.
        with _signals_blocked() as before:
            try:
                image = await self._settle()
                self._exec(replace(run, signal_mask=before), image)
            except RehearsalError as error:
                reason = str(error)
            except OSError as error:
                reason = f"cannot start {sys.executable}: {error.strerror}"
        self._is_busy = False
        self.last = replace(self.last, is_over=True, is_ok=False, reason=reason)
        _note_failure(run.by, f"{reason}; nothing has changed")

    def _exec(self, run: UpgradeRun, image: KeptImage) -> None:
        """Exec the next image; never returns.

        Raises:
            OSError: The kernel refused, and nothing has happened.
        """
        state_fd, fds = self._write(run, image)
        # While the new image is being imported nobody feeds the watchdog of systemd
        # (WatchdogSec=): what hangs must be given up in half of its time, so that the
        # old image can still be back before the manager ends us.
        watchdog_s = self._planner.policy.watchdog_s or float("inf")
        timeout_s = min(self.timeout_s, watchdog_s / 2)
        launch = Launch.of_new(image, state_fd, timeout_s)
        sys.stdout.flush()
        for fd in fds:
            # Only now, and undone if execve fails: a process that is forked in between
            # would otherwise keep every listener of the service open.
            os.set_inheritable(fd, True)
        try:
            os.execve(launch.interpreter, launch.words, launch.environment)
        finally:
            for fd in fds:
                os.set_inheritable(fd, False)
            os.close(state_fd)


def _note_failure(by: str, text: str, frames: str = "") -> None:
    note("upgrade_failed", f"asked for by {by}: {text}", "ERROR", traceback=frames)


def _pass_on(what: str, error: BaseException) -> RehearsalError:
    return RehearsalError(f"{what}: {error}", getattr(error, "frames", ""))


@contextmanager
def _signals_blocked() -> Iterator[list[int]]:
    """Block every signal for a while; yield the mask before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield [int(number) for number in before]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
