"""What happened between two looks at a service: pure.

A worker's counts are told by its pid, so that a new one begins at nothing; a
slot's requests go on over the lives of its workers.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from blazeio_supervisor.control.answers.status import (
    StatusAnswer,
    WorkerAnswer,
)

PERCENTILE = 0.99


class WorkerRates(Struct, frozen=True):
    """One worker, a second.

    Attributes:
        requests: Begun.
        cpu: Cores in use; None when that cannot be seen.
        lag_p99_s: One in a hundred beats came at least about so late; infinite
            beyond the last bound.
    """

    requests: float
    cpu: float | None
    lag_p99_s: float


class Rates(Struct, frozen=True):
    """The whole service.

    Attributes:
        by_pid: Each worker that both looks have seen.
        requests: A second, of all slots, also of workers that have died.
    """

    by_pid: dict[int, WorkerRates] = field(default_factory=dict)
    requests: float = 0.0


def measure_rates(before: StatusAnswer | None, after: StatusAnswer) -> Rates:
    """Compare two looks; without an earlier one, or of another master: nothing."""
    if before is None or before.pid != after.pid or after.age_s <= before.age_s:
        return Rates()
    span_s = after.age_s - before.age_s
    earlier = {each.pid: each for each in before.workers if each.pid is not None}
    bounds_s = after.lag_bounds_s
    by_pid = {
        each.pid: _compare(earlier[each.pid], each, span_s, bounds_s)
        for each in after.workers
        if each.pid is not None and each.pid in earlier
    }
    return Rates(by_pid, max(_count(after) - _count(before), 0) / span_s)


def _compare(
    before: WorkerAnswer, after: WorkerAnswer, span_s: float, bounds_s: Sequence[float]
) -> WorkerRates:
    cpu = None
    if before.cpu_s is not None and after.cpu_s is not None:
        cpu = max(after.cpu_s - before.cpu_s, 0.0) / span_s
    requests = max(after.requests - before.requests, 0) / span_s
    counts = [
        max(new - old, 0)
        for old, new in zip(before.lag_counts, after.lag_counts, strict=False)
    ]
    return WorkerRates(requests, cpu, find_percentile(counts, bounds_s))


def find_percentile(counts: Sequence[int], bounds_s: Sequence[float]) -> float:
    """Find the bound below which 99 of 100 fall; 0.0 where nothing was counted."""
    total, seen = sum(counts), 0
    if not total:
        return 0.0
    for count, bound_s in zip(counts, [*bounds_s, float("inf")], strict=False):
        seen += count
        if seen >= PERCENTILE * total:
            return bound_s
    return float("inf")


def _count(status: StatusAnswer) -> int:
    return sum(slot.requests for slot in status.slots)
