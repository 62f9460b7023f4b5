"""The first boot: until a slot serves, any failure ends the master.

A service that never began has nothing to protect, and whoever started it
(systemd, a person) must see the reason and the exit code at once. Only while an
app is developed (``is_development``) its failures are no end: the next reload boots
anew.
"""

from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.context import Failure, PlanContext
from blazeio_supervisor.fleet.facts import StartAsked
from blazeio_supervisor.fleet.reasons import (
    NOT_IMPORTABLE,
    START_FAILED,
    decide_exit_code,
)
from blazeio_supervisor.fleet.rollout import Rollout
from blazeio_supervisor.fleet.transitions import (
    start_forkserver,
    step_forkserver,
    step_worker,
)
from blazeio_supervisor.fleet.worker_state import Event

_OF_THE_APP = frozenset({START_FAILED, NOT_IMPORTABLE})


class Boot(Struct):
    """Starts the first generation, and reports when the service is ready.

    Attributes:
        is_asked: The master has bound its sockets.
        has_served: A worker has accepted connections.
        is_given_up: While an app is developed: what was started is ended, or gone.
        tickets: The tickets of the reload that has caused this boot.
    """

    is_asked: bool = False
    has_served: bool = False
    is_given_up: bool = False
    tickets: list[int] = field(default_factory=list)

    def run(self, context: PlanContext, rollout: Rollout) -> Failure | None:
        """Begin when asked; return the failure that ends a first boot.

        Args:
            context: The present turn.
            rollout: Knows who asks for a reload meanwhile.
        """
        asked = [fact for fact in context.facts if isinstance(fact, StartAsked)]
        if asked and not self.is_asked:
            self.is_asked = True
            context.roster.park_beyond(asked[0].slot_count)
            self._begin(context)
        if self.has_served or not self.is_asked:
            return None
        first = next(context.roster.serving(), None)
        if first is not None:
            self.has_served = True
            text = "the service is up: this worker is the first that serves"
            context.report("ready", text, of=first)
            self._answer(context)
            return None
        # Behind the first worker that serves, so that a failure in the same turn ends
        # nothing that already serves.
        if context.policy.is_development:
            return self._try_again(context, rollout)
        return context.failures[0] if context.failures else None

    def abort(self, context: PlanContext, reason: str) -> None:
        """End the reload that has caused this boot: the service ends."""
        self._answer(context, reason)

    def _begin(self, context: PlanContext) -> None:
        context.roster.generation = context.roster.next_generation()
        ticket = self.tickets[-1] if self.tickets else None
        start_forkserver(context, context.roster.generation, ticket)

    # While an app is developed

    def _try_again(self, context: PlanContext, rollout: Rollout) -> Failure | None:
        """Boot anew once the code has changed, and the last boot has ended."""
        failure = context.failures[0] if context.failures else None
        if failure is not None:
            if decide_exit_code(failure.status) not in _OF_THE_APP:
                return failure
            text = f"{failure.sentence}; waiting for a change of the code"
            context.report("boot_waits", text, "ERROR")
            self._give_up(context, failure.sentence)
        elif rollout.is_asked and not self.is_given_up:
            self._give_up(context, "the code has changed meanwhile")
        roster = context.roster
        # Until all of the last boot is gone: its processes may still hold what the app
        # needs alone (a port of its own, a lock file).
        if self.is_given_up and not roster.forkservers and not roster.workers:
            self.tickets = [asked.ticket for asked in rollout.hand_over()]
            if self.tickets:
                self.is_given_up = False
                self._begin(context)
        return None

    def _give_up(self, context: PlanContext, reason: str) -> None:
        self.is_given_up = True
        context.failures.clear()  # it is said; no slot has to answer for it
        for forkserver in list(context.roster.forkservers.values()):
            step_forkserver(context, forkserver, Event.DRAIN)
        for worker in list(context.roster.workers.values()):
            step_worker(context, worker, Event.DRAIN)
        self._answer(context, reason)

    def _answer(self, context: PlanContext, reason: str = "") -> None:
        if self.tickets:
            tickets, generation = tuple(self.tickets), context.roster.generation
            context.act(ReloadEnded(tickets, generation, not reason, reason))
        self.tickets = []


def exit_of(failure: Failure) -> tuple[int, str]:
    """Exit code and reason of a master whose first boot failed."""
    return decide_exit_code(failure.status), failure.sentence
