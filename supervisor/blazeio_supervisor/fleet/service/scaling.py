"""How many slots want a worker.

The highest slots are parked first and woken last, so slot 0 (where a canary
boots) is never parked. A parked slot keeps its listeners for good: siblings
adopt its queue. Its worker drains once as many others serve as are wanted:
while one of them boots, it serves on.

Scaling does not wait for a reload: what is spawned has the generation that is
wanted at that moment, and the rollout replaces it like any other slot.
"""

from blazeio_supervisor.fleet.actions import OpenSlot
from blazeio_supervisor.fleet.facts import ScaleAsked
from blazeio_supervisor.fleet.roster import Roster, Slot
from blazeio_supervisor.fleet.telling.words import asked_for, count_of
from blazeio_supervisor.fleet.turns.lives import step_worker
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import Event


def scale(turn: Turn) -> None:
    """Open, wake or park slots as the facts ask; at least one stays."""
    for fact in turn.facts:
        if isinstance(fact, ScaleAsked):
            _scale_to(turn, _wanted(turn, fact), fact.by)
    _retire_surplus(turn)


def _wanted(turn: Turn, fact: ScaleAsked) -> int:
    present = sum(1 for _ in turn.roster.active())
    asked = (present if fact.count is None else fact.count) + fact.change
    wanted = min(max(asked, 1), max(turn.policy.worker_limit, present))
    if wanted != asked:
        bound = "least" if wanted > asked else "most"
        text = f"{asked_for(fact.by)}: {count_of(asked, 'worker')}; {wanted} is the"
        turn.report("scale_limited", f"{text} {bound}", "WARNING")
    return wanted


def _scale_to(turn: Turn, wanted: int, by: str) -> None:
    roster = turn.roster
    active = list(roster.active())
    if len(active) != wanted:
        text = f"from {len(active)} to {count_of(wanted, 'worker')}"
        turn.report("scaled", f"{asked_for(by)}: {text}")
    for slot in reversed(active[wanted:]):
        _park(slot)
    for index in range(len(active), wanted):
        _wake(turn, roster, index)


def _park(slot: Slot) -> None:
    slot.is_parked = True
    slot.backoff.reset()


def _retire_surplus(turn: Turn) -> None:
    roster = turn.roster
    surplus = sum(1 for _ in roster.serving()) - sum(1 for _ in roster.active())
    for slot in reversed(roster.slots):
        if not slot.is_parked:
            continue
        for handle in (slot.successor, slot.owner):
            if handle is None or (handle.is_serving and surplus <= 0):
                continue
            surplus -= handle.is_serving
            step_worker(turn, handle, Event.DRAIN)


def _wake(turn: Turn, roster: Roster, index: int) -> None:
    if index < len(roster.slots):
        roster.slots[index].is_parked = False
    else:
        roster.slots.append(Slot(index))
        turn.act(OpenSlot(index))
