"""Where the kernel sends new connections: one weight for each slot.

A slot whose owner does not serve, is late or full gets none, at once. Among
the others, by ``steering``, weights follow the load: a step of ten every
``steer_every_s``, between half and one and a half of the even share, so that a
burst is not chased and nobody starves; or all have the same.
"""

from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import Steer
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.roster import WorkerHandle

EVEN, LEAST, MOST, STEP = 100, 50, 150, 10


class Steering(Struct):
    """Remembers each worker's weight and what was last sent.

    Attributes:
        weights: As last sent, one for each slot; empty before the first.
        shares: The weight of each worker, by its serial number.
        moved_at: When the shares last followed the load, steady time.
    """

    weights: tuple[int, ...] = ()
    shares: dict[int, int] = field(default_factory=dict)
    moved_at: float = 0.0

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
        self.shares = {
            handle.worker: self.shares.get(handle.worker, EVEN) for handle in live
        }
        if policy.steering == "load":
            self._follow_load(context, live)
        by_slot = {handle.slot: self.shares[handle.worker] for handle in live}
        weights = tuple(by_slot.get(slot.index, 0) for slot in slots)
        if weights != self.weights:
            self.weights = weights
            context.act(Steer(weights))

    def _follow_load(self, context: PlanContext, live: list[WorkerHandle]) -> None:
        if not live or context.now < self.moved_at + context.policy.steer_every_s:
            return
        self.moved_at = context.now
        mean = sum(handle.health.load for handle in live) / len(live)
        for handle in live:
            target = min(max(EVEN * mean / handle.health.load, LEAST), MOST)
            gap = target - self.shares[handle.worker]
            if abs(gap) >= STEP:
                self.shares[handle.worker] += STEP if gap > 0 else -STEP


def _choose_live(context: PlanContext) -> list[WorkerHandle]:
    """Choose who gets connections; when all are late, all of those."""
    serving = list(context.roster.serving())
    return [handle for handle in serving if not handle.health.is_avoided] or serving
