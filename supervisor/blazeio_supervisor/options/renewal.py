"""When workers are replaced: what new code must show, how long one worker lives."""

import re
from collections.abc import Mapping
from typing import Any

import click

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.options.section import Section
from blazeio_supervisor.options.size import parse_size
from blazeio_supervisor.settings import WorkerLimits

LEAST_LIFETIME_S = 1.0
LEAST_MEMORY_BYTES = 1024 * 1024
JITTER_SHARE = 0.1

_PATH = re.compile(r"/[!-~]*")
_HEALTH_S = Policy().health_timeout_s

RENEWAL = Section(
    "Renewal",
    (
        click.Option(
            ["--health-path"],
            default="",
            metavar="PATH",
            help="At a reload, GET this from the first new worker before it accepts "
            "any connection. Anything but a 2xx, and no answer within "
            f"{_HEALTH_S:g} s, fails the reload; the old workers go on.  "
            "[default: not asked]",
        ),
        click.Option(
            ["--max-requests"],
            type=int,
            default=None,
            metavar="N",
            help="Replace a worker after so many requests; the new one is ready "
            "before the old one drains, one worker at a time. Likewise below.  "
            "[default: never]",
        ),
        click.Option(
            ["--max-requests-jitter"],
            type=int,
            default=None,
            metavar="N",
            help="Plus up to so many, drawn for each worker, or all would be replaced "
            "in a row.  [default: a tenth of --max-requests]",
        ),
        click.Option(
            ["--max-lifetime"],
            type=float,
            default=None,
            metavar="S",
            help="Replace a worker after so many seconds.  [default: never]",
        ),
        click.Option(
            ["--max-lifetime-jitter"],
            type=float,
            default=None,
            metavar="S",
            help="Plus up to so many seconds.  [default: a tenth of --max-lifetime]",
        ),
        click.Option(
            ["--max-memory"],
            default=None,
            metavar="SIZE",
            help="Replace a worker that has more memory of its own, 512M or 2G "
            "(1024-based). What it shares with the others, as it was forked, does not "
            "count. Measured every few seconds.  [default: never]",
        ),
    ),
)


def read_health_path(text: str) -> str:
    """Read ``--health-path``; "" when there is none.

    Raises:
        UsageError: It is no path of a request.
    """
    if text and (_PATH.fullmatch(text) is None or "#" in text):
        raise UsageError(
            f"--health-path {text}: expected a path such as /health, percent-encoded"
        )
    return text


def read_limits(given: Mapping[str, Any]) -> WorkerLimits:
    """Read all that limits one worker.

    Raises:
        UsageError: One is out of bounds, or a jitter has nothing to vary.
    """
    requests, lifetime_s = given["max_requests"], given["max_lifetime"]
    if requests is not None and requests < 1:
        raise UsageError(f"--max-requests {requests}: expected 1 or more")
    if lifetime_s is not None and not LEAST_LIFETIME_S <= lifetime_s < float("inf"):
        message = f"expected at least {LEAST_LIFETIME_S:g} second"
        raise UsageError(f"--max-lifetime {lifetime_s:g}: {message}")
    return WorkerLimits(
        max_requests=requests,
        max_requests_jitter=round(_read_jitter("--max-requests", requests, given)),
        max_lifetime_s=lifetime_s,
        max_lifetime_jitter_s=_read_jitter("--max-lifetime", lifetime_s, given),
        max_memory_bytes=_read_memory(given["max_memory"]),
    )


def _read_jitter(of: str, limit: float | None, given: Mapping[str, Any]) -> float:
    option = f"{of}-jitter"
    value = given[option.removeprefix("--").replace("-", "_")]
    if value is None:
        return (limit or 0) * JITTER_SHARE
    if limit is None:
        raise UsageError(f"{option} {value:g}: has no effect without {of}")
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} {value:g}: expected 0 or more")
    return float(value)


def _read_memory(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        size_bytes = parse_size(text)
    except ValueError as error:
        raise UsageError(f"--max-memory {error}") from None
    if size_bytes < LEAST_MEMORY_BYTES:
        raise UsageError(f"--max-memory {text}: expected 1M or more")
    return size_bytes
