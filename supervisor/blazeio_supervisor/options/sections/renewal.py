"""When workers are replaced: what new code must show, how long one worker lives."""

import re
from dataclasses import dataclass

from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.options.kinds.numbers import Count, Seconds, Size
from blazeio_supervisor.options.kinds.texts import Parsed
from blazeio_supervisor.options.option import Section, SettingError, option

JITTER_SHARE = 0.1
MIB = 1024 * 1024

_PATH = re.compile(r"/[!-~]*")


def read_health_path(text: str) -> str:
    """Read ``--health-path``; "" is none.

    Raises:
        ValueError: It is no path of a request.
    """
    if text and (_PATH.fullmatch(text) is None or "#" in text):
        raise ValueError("expected a path such as /health, percent-encoded")
    return text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Renewal(Section):
    """The health of new code, and the recycling of workers that serve well."""

    title = "Renewal"

    health_path: str = option(
        Parsed(read_health_path, "PATH"),
        "At a reload, GET this from the first new worker before it accepts any "
        "connection. Anything but a 2xx, and no answer within --health-timeout, "
        "fails the reload; the old workers go on.",
        default="",
        default_text="not asked",
    )
    health_timeout_s: float = option(
        Seconds(0.1),
        "See --health-path.",
        default=Policy().health_timeout_s,
    )
    max_requests: int | None = option(
        Count(1),
        "Replace a worker after so many requests; the new one is ready before the old "
        "one drains, one worker at a time. Likewise below.",
        default=None,
        default_text="never",
    )
    max_requests_jitter: int | None = option(
        Count(),
        "Plus up to so many, drawn for each worker, or all would be replaced in a row.",
        default=None,
        default_text="a tenth of --max-requests",
    )
    max_lifetime_s: float | None = option(
        Seconds(1, float("inf")),
        "Replace a worker after so many seconds.",
        default=None,
        default_text="never",
    )
    max_lifetime_jitter_s: float | None = option(
        Seconds(0, float("inf")),
        "Plus up to so many seconds.",
        default=None,
        default_text="a tenth of --max-lifetime",
    )
    max_memory_bytes: int | None = option(
        Size(MIB),
        "Replace a worker that has more memory of its own, 512M or 2G (1024-based). "
        "What it shares with the others, as it was forked, does not count. Measured "
        "every few seconds.",
        default=None,
        default_text="never",
        key="max_memory",
    )

    def check(self) -> None:
        """A jitter must have something to vary."""
        if self.max_requests is None and self.max_requests_jitter is not None:
            raise SettingError(
                "max_requests_jitter", "has no effect without --max-requests"
            )
        if self.max_lifetime_s is None and self.max_lifetime_jitter_s is not None:
            raise SettingError(
                "max_lifetime_jitter_s", "has no effect without --max-lifetime"
            )


def choose_jitter(given: float | None, limit: float | None) -> float:
    """Give the jitter of a limit: a tenth of it, where none was said."""
    return (limit or 0) * JITTER_SHARE if given is None else given
