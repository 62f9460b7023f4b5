"""How many slots want a worker.

The highest slots are parked first and woken last, so slot 0 (where a canary
boots) is never parked. A parked slot keeps its listeners for good: siblings
adopt its queue. Its worker drains once as many others serve as are wanted:
while one of them boots, it serves on.

Scaling does not wait for a reload: what is spawned has the generation that is
wanted at that moment, and the rollout replaces it like any other slot.
"""

from msgspec import Struct

from blazeio_supervisor.fleet.actions import OpenSlot
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import (
    ParkAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
)
from blazeio_supervisor.fleet.reasons import asked_for, count_of
from blazeio_supervisor.fleet.roster import Roster, Slot
from blazeio_supervisor.fleet.transitions import step_worker
from blazeio_supervisor.fleet.worker_state import Event


def scale(context: PlanContext) -> None:
    """Open, wake or park slots as the facts ask; at least one stays."""
    for fact in context.facts:
        if isinstance(fact, ScaleAsked):
            scale_to(context, _wanted(context, fact), asked_for(fact.by))
    _retire_surplus(context)


def _wanted(context: PlanContext, fact: ScaleAsked) -> int:
    present = sum(1 for _ in context.roster.active())
    asked = (present if fact.count is None else fact.count) + fact.change
    wanted = min(max(asked, 1), max(context.policy.worker_limit, present))
    if wanted != asked:
        bound = "least" if wanted > asked else "most"
        text = f"{asked_for(fact.by)}: {count_of(asked, 'worker')}; {wanted} is the"
        context.report("scale_limited", f"{text} {bound}", "WARNING")
    return wanted


def scale_to(context: PlanContext, wanted: int, why: str, word: str = "asked") -> None:
    """Make this many slots active; say why, in a sentence and in a word."""
    roster = context.roster
    active = list(roster.active())
    if len(active) != wanted:
        text = f"{why}: from {len(active)} to {count_of(wanted, 'worker')}"
        context.report("scaled", text, reason=word)
    for slot in reversed(active[wanted:]):
        _park(slot)
    for index in range(len(active), wanted):
        _wake(context, roster, index)


def _park(slot: Slot) -> None:
    slot.is_parked, slot.awaits = True, None
    slot.backoff.reset()


def _retire_surplus(context: PlanContext) -> None:
    roster = context.roster
    # Parked workers that serve count as well: as long as too few others do, they stay.
    surplus = sum(1 for _ in roster.serving()) - sum(1 for _ in roster.active())
    for slot in reversed(roster.slots):
        if not slot.is_parked:
            continue
        for handle in (slot.successor, slot.owner):
            if handle is None or (handle.is_serving and surplus <= 0):
                continue
            surplus -= handle.is_serving
            step_worker(context, handle, Event.DRAIN)


def _wake(context: PlanContext, roster: Roster, index: int) -> None:
    if index < len(roster.slots):
        roster.slots[index].is_parked = False
    else:
        roster.slots.append(Slot(index))
        context.act(OpenSlot(index))


# Parking: no worker serves, and no connection is lost meanwhile.
#
# The workers drain; the listeners stay, so new connections wait in their queues
# (as many as the backlog holds) until the service is resumed. The forkserver
# stays too: then workers are there at once.
#
# A reload is a transaction, so parking waits for its end; one that is asked for
# later resumes first.


class Parking(Struct):
    """Parks and resumes the service.

    Attributes:
        is_asked: It shall be parked.
        is_active: It is parked.
        by: Who has asked for it.
    """

    is_asked: bool = False
    is_active: bool = False
    by: str = ""

    def take(self, context: PlanContext, *, may_begin: bool) -> None:
        """Take what is asked for.

        Args:
            may_begin: It serves, and no reload is under way.
        """
        for fact in context.facts:
            match fact:
                case ParkAsked():
                    self._ask(context, fact, may_begin=may_begin)
                case ResumeAsked() | ReloadAsked():
                    self._resume(context, fact)
        if self.is_asked and not self.is_active and may_begin:
            self.is_active = True
            text = "the workers drain, connections wait until `resume` or HUP"
            context.report("parked", f"{asked_for(self.by)}: {text}")

    def run(self, context: PlanContext) -> None:
        """Drain every worker that serves or boots."""
        for handle in list(context.roster.workers.values()):
            if handle.is_wanted:
                step_worker(context, handle, Event.DRAIN)

    def _ask(self, context: PlanContext, asked: ParkAsked, *, may_begin: bool) -> None:
        if not self.is_asked and not may_begin:
            text = "it begins when the start or the reload under way is over"
            context.report("parking", f"{asked_for(asked.by)}: {text}")
        self.is_asked, self.by = True, asked.by

    def _resume(self, context: PlanContext, asked: ResumeAsked | ReloadAsked) -> None:
        self.is_asked = False
        if self.is_active:
            self.is_active = False
            for slot in context.roster.slots:
                slot.reset_failures()  # the operator does not want to wait for it
            text = f"{asked_for(asked.by)}: a worker starts in each slot"
            context.report("resumed", text)
