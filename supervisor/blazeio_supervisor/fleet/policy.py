"""Every timeout, threshold and switch of the planner, as named fields."""

from random import Random
from typing import Literal

from msgspec import Struct

SteeringMode = Literal["load", "even", "off"]
"""Who gets new connections: the least loaded more of them, all that serve the
same, or whomever the kernel picks: those that do not serve, too."""

Readiness = Literal["first", "all"]
"""When the service manager is told that the service is ready: with the first
worker that serves, or when all do."""


class Policy(Struct, frozen=True, kw_only=True):
    """The planner's settings. Spans are seconds, sizes octets, inclusive.

    Attributes:
        boot_timeout_s: From StartForkserver to ForkserverReady, and from Spawn
            to WorkerReady; then it counts as failed and is ended. Who boots for
            a third of it is reported, with where it stands.
        boot_stack_s: At the end of that time, for it to report its stacks.
        grace_s: A draining worker has this long, then TERM.
        quick_grace_s: The same in a quick stop.
        drain_delay_s: Between a gentle stop and the first drain: no longer
            ready, still serving.
        term_s: After a TERM that no grace period preceded (a boot that is late,
            a blocked loop), before KILL; at most ``grace_s + kill_after_s``.
        kill_after_s: Between the end of a grace period, which is said by TERM,
            and KILL: for a process that is just about to exit.
        forkserver_stop_s: A forkserver told to stop has this long, and at most
            ``grace_s``, then TERM. It waits for the workers that it has forked:
            while there are any, their grace period is added.
        backoff_base_s: The second respawn in a row waits this long; each
            further one twice as long (the first does not wait, nor does that of
            a worker that was killed from outside after it had served for
            ``canary_hold_s``).
        backoff_most_s: The longest wait, before jitter.
        backoff_jitter: Each wait is varied by up to this share, up or down.
        stable_after_s: A worker that served this long resets its slot's
            backoff.
        crash_loop_deaths: This many deaths in a row are reported, once, as a
            crash loop.
        has_health_check: The canary is asked for its health path before it
            may accept.
        health_timeout_s: For the answer to that.
        canary_hold_s: How long a canary must serve beside the old worker
            before the first old worker is touched. Longer than 1 s, so that
            code that dies one second after it was ready costs nothing.
        hold_s: After the last slot was replaced, how long every new worker
            must live on before the way back (the old forkserver) is given up.
        least_hold_s: Either hold ends after this already, once each new worker has
            answered ``proof_request_count`` requests, and no greater share of them
            by 5xx than the old code.
        proof_request_count: How many requests that takes.
        renew_every_s: How long the canary must have been asked nothing until clients
            of the old code are made to connect anew.
        renew_count: The most clients of one old worker at once.
        renew_share: The same as a share of its connections.
        rollback_5xx: New code goes back if its share of 5xx is greater than that of
            the old by more than this, None: whatever it is.
        rollback_latency: New code goes back if its p95 is more than so many times that
            of the old, or its loop lag is; None: whatever they are.
        rollback_min_requests: Not before it has answered so many.
        is_development: A first boot that fails is tried again with the next reload,
            and does not end the service.
        rollout_timeout_s: A whole reload; then it is rolled back. The way
            back has the same time.
        is_oom_fatal: A worker that the kernel kills for lack of memory ends the
            service.
        least_workers: The fewest workers where the load decides on the number.
        most_workers: The most workers then; None: the load does not decide.
        memory_reserve_bytes: Memory that must stay free when a worker is started
            beside others.
        worker_limit: The most workers that ``scale`` may ask for.
        tick_every_s: The longest the planner lets the master sleep.
        late_tick_s: A turn later than asked by more than this is the
            machine's fault: the surplus is not counted as time, and the first
            such turn ends nobody.
        beat_every_s: How often the master reads the scoreboard. A worker beats
            at least as often, unless it rests.
        rest_every_s: How often a worker beats that nobody sends a request, and how
            often the scoreboard is read while all workers rest. For such a worker
            all that follows comes later by this much.
        steer_after_s: No beat for this long: no new connections.
        adopt_after_s: No beat for this long: a sibling takes its queue too.
        dump_after_s: No beat for this long: its stacks are dumped.
        dump_every_s: The stacks of one worker are dumped at most this often.
        timeout_s: No beat for this long: TERM. ``inf``: never.
        machine_timeout_s: The same while most workers are late at once, which
            is the machine's fault until then.
        good_beats: This many good beats in a row end steering and adoption.
        is_shared_listener: All workers accept from one socket, so nothing can
            be steered or adopted.
        steering: What decides on new connections.
        steer_every_s: Weights move at most this often (0 and back: at once).
        max_requests: Recycle after this many, None: never.
        max_requests_jitter: Plus up to this many, drawn for each worker.
        max_lifetime_s: Recycle a worker of this age, None: never.
        max_lifetime_jitter_s: Plus up to this, drawn for each worker.
        max_memory_bytes: Recycle above this private memory, None: never.
        ready: What the service manager takes for the end of the start.
        watchdog_s: It wants a sign of life within this, None: never.
    """

    boot_timeout_s: float = 60.0
    boot_stack_s: float = 0.5
    grace_s: float = 30.0
    quick_grace_s: float = 1.0
    drain_delay_s: float = 0.0
    term_s: float = 5.0
    kill_after_s: float = 0.5
    forkserver_stop_s: float = 2.0
    backoff_base_s: float = 0.25
    backoff_most_s: float = 30.0
    backoff_jitter: float = 0.2
    stable_after_s: float = 10.0
    crash_loop_deaths: int = 3
    has_health_check: bool = False
    health_timeout_s: float = 10.0
    canary_hold_s: float = 2.0
    hold_s: float = 2.0
    least_hold_s: float = 0.2
    proof_request_count: int = 200
    renew_every_s: float = 0.1
    renew_count: int = 4
    renew_share: float = 0.25
    rollback_5xx: float | None = None
    rollback_latency: float | None = None
    rollback_min_requests: int = 50
    is_development: bool = False
    rollout_timeout_s: float = 600.0
    is_oom_fatal: bool = False
    least_workers: int = 1
    most_workers: int | None = None
    memory_reserve_bytes: int = 64 * 1024 * 1024
    worker_limit: int = 256
    tick_every_s: float = 1.0
    late_tick_s: float = 0.1
    beat_every_s: float = 0.05
    rest_every_s: float = 1.0
    steer_after_s: float = 0.1
    adopt_after_s: float = 0.25
    dump_after_s: float = 1.0
    dump_every_s: float = 10.0
    timeout_s: float = 30.0
    machine_timeout_s: float = 60.0
    good_beats: int = 3
    is_shared_listener: bool = False
    steering: SteeringMode = "load"
    steer_every_s: float = 0.25
    max_requests: int | None = None
    max_requests_jitter: int = 0
    max_lifetime_s: float | None = None
    max_lifetime_jitter_s: float = 0.0
    max_memory_bytes: int | None = None
    ready: Readiness = "first"
    watchdog_s: float | None = None

    @property
    def has_budget(self) -> bool:
        """Whether new code goes back where it is worse than the old."""
        return self.rollback_5xx is not None or self.rollback_latency is not None


# When to try again: at once, then after growing waits with jitter.


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
        # The exponent is bounded before the power is: after a night of failures
        # ``2**doublings`` would be an integer of thousands of digits.
        doublings = min(self.failures - 2, _MOST_DOUBLINGS)
        wait_s = min(policy.backoff_base_s * 2**doublings, policy.backoff_most_s)
        # Jitter, so that many slots, or many machines, whose app has lost its database
        # do not all come back to it in the same instant.
        share = 1 + policy.backoff_jitter * (2 * rng.random() - 1)
        self.next_at = now + wait_s * share

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0
        self.next_at = 0.0
