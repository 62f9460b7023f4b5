"""When to try again: at once, then after growing waits with jitter."""

from random import Random

from msgspec import Struct

from blazeio_supervisor.fleet.policy import Policy

_MOST_DOUBLINGS = 30  # 2**30 base waits are past any backoff_most_s


class Backoff(Struct):
    """The failures in a row of one slot, or of the forkservers.

    Attributes:
        failures: How many in a row.
        next_at: Not again before this time.
    """

    failures: int = 0
    next_at: float = 0.0

    def fail(self, now: float, policy: Policy, rng: Random) -> None:
        """Count one failure and set ``next_at``: the first costs no wait."""
        self.failures += 1
        if self.failures == 1:
            self.next_at = now
            return
        doublings = min(self.failures - 2, _MOST_DOUBLINGS)
        wait_s = min(policy.backoff_base_s * 2**doublings, policy.backoff_most_s)
        share = 1 + policy.backoff_jitter * (2 * rng.random() - 1)
        self.next_at = now + wait_s * share

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0
        self.next_at = 0.0
