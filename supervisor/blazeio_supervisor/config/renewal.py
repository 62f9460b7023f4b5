"""When workers are replaced: the health of new code, the life of one worker."""

from dataclasses import dataclass

from blazeio_supervisor.config.option import Section, SettingError, option
from blazeio_supervisor.config.types import (
    Count,
    Flag,
    Number,
    Parsed,
    Seconds,
    Size,
    read_path,
)
from blazeio_supervisor.fleet.policy import Policy

JITTER_SHARE = 0.1
MIB = 1024 * 1024


def read_health_path(text: str) -> str:
    """Read ``--health-path``; "" stands for none.

    Raises:
        ValueError: The text is no path of a request.
    """
    return read_path(text) if text else text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Renewal(Section):
    """The health of new code, and the recycling of workers that serve well."""

    title = "Renewal"

    health_path: str = option(
        Parsed(read_health_path, "PATH"),
        "At a reload, GET this path from the first new worker before it accepts any "
        "connection. If the answer is not 2xx, or does not come within "
        "--health-timeout, the reload fails and the old workers go on.",
        default="",
        default_text="not asked",
    )
    health_timeout_s: float = option(
        Seconds(0.1),
        "How long the answer for --health-path may take.",
        default=Policy().health_timeout_s,
    )
    rollback_5xx: float | None = option(
        Number(0, 1),
        "Roll back if the share of 5xx responses of the new code exceeds that of the "
        "old code over the same time by more than this; 0.05 is 5 in 100. It is "
        "compared from the first new worker until the old code is given up "
        "(--canary-hold); a difference that may be chance is ignored.",
        default=None,
        default_text="whatever it is",
    )
    rollback_latency: float | None = option(
        Number(1),
        "Likewise, roll back if the p95 latency of the new code is more than this "
        "many times that of the old code (and above 10 ms), or the lag of its event "
        "loops is (and above 0.1 s).",
        default=None,
        default_text="whatever they are",
    )
    rollback_min_requests: int = option(
        Count(1),
        "Roll back for 5xx or latency only after the new code has answered this many "
        "requests.",
        default=Policy().rollback_min_requests,
    )
    max_requests: int | None = option(
        Count(1),
        "Replace a worker after this many requests. Workers are replaced one at a "
        "time, here and by the options below; the new one is ready before the old one "
        "drains.",
        default=None,
        default_text="never",
    )
    max_requests_jitter: int | None = option(
        Count(),
        "Add a random number of requests, up to this, for each worker, so that not "
        "all are replaced at once.",
        default=None,
        default_text="a tenth of --max-requests",
    )
    max_lifetime_s: float | None = option(
        Seconds(1, float("inf")),
        "Replace a worker after this many seconds.",
        default=None,
        default_text="never",
    )
    max_lifetime_jitter_s: float | None = option(
        Seconds(0, float("inf")),
        "Add a random number of seconds, up to this, for each worker.",
        default=None,
        default_text="a tenth of --max-lifetime",
    )
    max_memory_bytes: int | None = option(
        Size(MIB),
        "Replace a worker with more private memory than this: 512M, 2G (units of "
        "1024). Memory shared with other workers since the fork is not counted. It is "
        "measured every few seconds.",
        default=None,
        default_text="never",
        key="max_memory",
    )
    exit_on_oom: bool = option(
        Flag(),
        "End the service with exit code 1 when the kernel kills a worker for lack of "
        "memory, for those who want the container started anew; else the worker alone "
        "is replaced.",
        default=False,
    )

    def check(self) -> None:
        """Check that each jitter has something to vary."""
        if self.max_requests is None and self.max_requests_jitter is not None:
            raise SettingError(
                "max_requests_jitter", "has no effect without --max-requests"
            )
        if self.max_lifetime_s is None and self.max_lifetime_jitter_s is not None:
            raise SettingError(
                "max_lifetime_jitter_s", "has no effect without --max-lifetime"
            )


def choose_jitter(given: float | None, limit: float | None) -> float:
    """Return the jitter of a limit: a tenth of it, where none was given."""
    # The workers of a service start together and are asked about as often. Without a
    # jitter they would reach the limit together, too.
    return (limit or 0) * JITTER_SHARE if given is None else given
