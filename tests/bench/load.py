"""The load: wrk, pinned to a core of its own."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw.

    Attributes:
        request_count: Answered requests.
        error_count: Socket errors and answers other than 2xx and 3xx.
        requests_per_s: As wrk says.
        p50_ms: Median latency.
        p99_ms: 99th percentile of it.
    """

    request_count: int
    error_count: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


def run_wrk(
    port: int,
    *,
    core: int,
    connections: int,
    duration_s: float,
    path: str = "/",
    fields: Sequence[str] = (),
    script: Path | None = None,
) -> Load:
    """Load ``http://127.0.0.1:port`` and wait until it is over.

    Args:
        port: Of the server.
        core: That wrk runs on.
        connections: How many.
        duration_s: How long; wrk takes whole seconds.
        path: What is asked for.
        fields: Further header fields, as ``Name: value``.
        script: A program in Lua that makes the requests.

    Raises:
        subprocess.CalledProcessError: wrk failed.
    """
    command = ["taskset", "--cpu-list", str(core), "wrk", "--latency", "--threads=1"]
    how = [f"--connections={connections}", f"--duration={max(1, round(duration_s))}s"]
    how += [f"--header={each}" for each in fields]
    how += [f"--script={script}"] if script is not None else []
    done = subprocess.run(
        [*command, *how, f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return parse_wrk(done.stdout)


def parse_wrk(text: str) -> Load:
    """Read the report that wrk prints."""
    errors = re.search(r"Socket errors: (.*)", text)
    bad_statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    counted = re.findall(r"\d+", errors[1]) if errors else []
    counted += [bad_statuses[1]] if bad_statuses else []
    return Load(
        request_count=int(_find(r"(\d+) requests in", text)),
        error_count=sum(map(int, counted)),
        requests_per_s=float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        p50_ms=_to_ms(_find(r"^\s+50%\s+(\S+)", text)),
        p99_ms=_to_ms(_find(r"^\s+99%\s+(\S+)", text)),
    )


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise ValueError(f"wrk said nothing of {pattern!r}:\n{text}")
    return match[1]


def _to_ms(text: str) -> float:
    return float(text.rstrip("ums")) * UNITS[text.lstrip("0123456789.")]
