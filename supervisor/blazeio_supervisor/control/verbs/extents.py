"""How far what was ordered is, by the service's status: pure."""

from collections.abc import Mapping

from msgspec import Struct

from blazeio_supervisor.control.answers.status import (
    SlotAnswer,
    StatusAnswer,
    WorkerAnswer,
)

FAILURES_COUNT = 3
"""A slot that fails so often in a row is no longer waited for."""
_WANTED = frozenset({"spawning", "booting", "standby", "serving"})


Failures = Mapping[int, int]
"""By slot: how many workers in a row had failed when it was ordered."""


class Extent(Struct, frozen=True):
    """How much is done.

    Attributes:
        fault: Why the rest is not waited for; "" while nothing is wrong.
    """

    done: int
    total: int
    fault: str = ""

    @property
    def is_over(self) -> bool:
        """All is done."""
        return self.done >= self.total


def count_failures(status: StatusAnswer) -> Failures:
    """Count those that no order has to answer for."""
    return {slot.slot: slot.failures for slot in status.slots}


def measure_scaling(status: StatusAnswer, count: int, known: Failures) -> Extent:
    """Every wanted slot has a worker that serves, and no other has one."""
    serving = [each for each in _owners(status).values() if each.state == "serving"]
    ours = {slot.slot for slot in status.slots if not slot.is_parked}
    if len(ours) != count:
        return Extent(0, count, f"meanwhile {len(ours)} are wanted")
    done = sum(each.slot in ours for each in serving)
    if done == count:
        done -= sum(w.slot not in ours and w.state in _WANTED for w in status.workers)
    return Extent(max(done, 0), count, _find_fault(status, known))


def measure_recycling(
    status: StatusAnswer, pids: Mapping[int, int | None], known: Failures
) -> Extent:
    """Every slot has another worker than that, and it serves."""
    owners = _owners(status)
    done = 0
    for slot, pid in pids.items():
        owner = owners.get(slot)
        if owner is not None and owner.pid != pid:
            done += owner.state == "serving"
    return Extent(done, len(pids), _find_fault(status, known))


def measure_parking(status: StatusAnswer, at_first: int) -> Extent:
    """It is parked, and no worker is left."""
    if not status.is_parked:  # one more than none: it is not done
        at_first = max(at_first, 1)
        fault = "" if status.will_park else "meanwhile it was resumed"
        return Extent(0, at_first, fault)
    return Extent(max(at_first - len(status.workers), 0), at_first)


def measure_resuming(status: StatusAnswer, known: Failures) -> Extent:
    """Every wanted slot has a worker that serves."""
    slots = [slot for slot in status.slots if not slot.is_parked]
    if status.is_parked:
        return Extent(0, len(slots))
    return measure_scaling(status, len(slots), known)


def _owners(status: StatusAnswer) -> dict[int, WorkerAnswer]:
    return {each.slot: each for each in status.workers if each.role == "owner"}


def _find_fault(status: StatusAnswer, known: Failures) -> str:
    if status.is_parked:
        return "the service is parked"
    for slot in status.slots:
        is_new = slot.failures > known.get(slot.slot, 0)
        if is_new and slot.failures >= FAILURES_COUNT:
            return _describe_failures(slot)
    return ""


def _describe_failures(slot: SlotAnswer) -> str:
    return (
        f"slot {slot.slot}: {slot.failures} workers in a row failed; the service's "
        "log says why, and it tries on"
    )
