"""Where the kernel sends new connections: one weight for each slot.

A slot whose owner does not serve, is late or full gets none, at once. Among
the others, by ``steering``, weights follow the load: a step of ten every
``steer_every_s``, between half and one and a half of the even share, so that a
burst is not chased and nobody starves; or all have the same.
"""

from collections.abc import Mapping

import msgspec

from blazeio_supervisor.fleet.actions import Steer
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.roster import WorkerHandle

EVEN, LEAST, MOST, STEP = 100, 50, 150, 10


class FrozenSteering(msgspec.Struct, frozen=True):
    """The steering, as the next image of the master takes it over.

    Attributes:
        shares: Weights by the worker's serial number.
    """

    weights: tuple[int, ...]
    shares: dict[int, int]
    moved_at: float


class Steering:
    """Remembers each worker's weight and what was last sent.

    Attributes:
        weights: As last sent, one for each slot; empty before the first.
    """

    def __init__(self) -> None:
        self.weights: tuple[int, ...] = ()
        self._shares: dict[WorkerHandle, int] = {}
        self._moved_at = 0.0

    def run(self, context: PlanContext) -> None:
        """Send new weights when they differ; never with a single slot."""
        policy, slots = context.policy, context.roster.slots
        if policy.steering == "off" or policy.is_shared_listener:
            return
        if context.is_void or len(slots) < 2:
            return
        live = _choose_live(context)
        if not live and not self.weights:
            return  # nothing to take back yet
        self._shares = {handle: self._shares.get(handle, EVEN) for handle in live}
        if policy.steering == "load":
            self._follow_load(context, live)
        by_slot = {handle.slot: share for handle, share in self._shares.items()}
        weights = tuple(by_slot.get(slot.index, 0) for slot in slots)
        if weights != self.weights:
            self.weights = weights
            context.act(Steer(weights))

    def freeze(self) -> FrozenSteering:
        """Give all that it knows."""
        shares = {handle.worker: share for handle, share in self._shares.items()}
        return FrozenSteering(self.weights, shares, self._moved_at)

    def thaw(self, frozen: FrozenSteering, workers: Mapping[int, WorkerHandle]) -> None:
        """Go on from there; who is gone by now has no share."""
        self.weights, self._moved_at = frozen.weights, frozen.moved_at
        self._shares = {
            workers[worker]: share
            for worker, share in frozen.shares.items()
            if worker in workers
        }

    def _follow_load(self, context: PlanContext, live: list[WorkerHandle]) -> None:
        if not live or context.now < self._moved_at + context.policy.steer_every_s:
            return
        self._moved_at = context.now
        mean = sum(handle.pulse.load for handle in live) / len(live)
        for handle in live:
            target = min(max(EVEN * mean / handle.pulse.load, LEAST), MOST)
            gap = target - self._shares[handle]
            if abs(gap) >= STEP:
                self._shares[handle] += STEP if gap > 0 else -STEP


def _choose_live(context: PlanContext) -> list[WorkerHandle]:
    """Choose who gets connections; when all are late, all of those."""
    serving = list(context.roster.serving())
    return [handle for handle in serving if not handle.pulse.is_avoided] or serving
