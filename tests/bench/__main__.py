"""``make bench``: the JSON hello, by us and by others, each in turn.

The server runs on core 0, wrk on core 1. The figure is CPU time per request
of the server's whole process tree, which a busy machine disturbs less than
requests per second. Nothing here fails a build.

``--suite throughput`` moves large bodies instead (``throughput.py``).
"""

import argparse
import dataclasses
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from tests.bench.bulk_client import WrongCountError
from tests.bench.chart import draw_chart
from tests.bench.contestants import BULK_CONTESTANTS, CONTESTANTS, Contestant
from tests.bench.interpreter import read_interpreter
from tests.bench.load import run_wrk
from tests.bench.report import Result, format_table, format_throughput
from tests.bench.serving import DidNotServeError, fetch, serving
from tests.bench.throughput import measure_throughput

SERVER_CORE, LOAD_CORE = 0, 1
BODY = {"hello": "world"}
MIB = 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_options(arguments)
    say(str(read_interpreter()))
    if options.suite == "throughput":
        compare_throughput(options)
    else:
        compare_hello(options)


def compare_hello(options: argparse.Namespace) -> None:
    """Many small requests."""
    if not shutil.which("wrk") or not shutil.which("taskset"):
        sys.exit("this needs wrk and taskset: apt-get install wrk util-linux")
    require_two_cores()
    results = []
    for contestant in options.contestants:
        result = measure_or_skip(contestant, options)
        if result is not None:
            results.append(result)
    if options.json:
        print(json.dumps([dataclasses.asdict(each) for each in results], indent=2))
    else:
        print(format_table(results))
    if options.svg and results:
        options.svg.write_text(draw_chart(results, describe_run(options)))


def describe_run(options: argparse.Namespace) -> list[str]:
    """Say when, where, by which Python and by which command it was measured."""
    words = [f"--duration {options.duration:g}", f"--connections {options.connections}"]
    words += [f"--only {name}" for name in options.only or ()]
    return [
        f"{date.today()}, {read_processor()}, 1 core for the server, 1 for wrk; "
        f"load average {os.getloadavg()[1]:.0f}, which counts what else runs",
        str(read_interpreter()),
        f"make bench ARGS='{' '.join(words)}'",
    ]


def read_processor() -> str:
    """Name the processor of this machine, with its number of cores."""
    with open("/proc/cpuinfo") as file:
        names = re.findall(r"^model name\s*: (.+)$", file.read(), re.MULTILINE)
    return f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)"


def compare_throughput(options: argparse.Namespace) -> None:
    """Few large bodies."""
    require_two_cores()
    names = {each.name for each in options.contestants}
    chosen = [each for each in BULK_CONTESTANTS if each.name in names]
    try:
        results = measure_throughput(
            [each for each in chosen if each.is_installed()],
            size=options.mib * MIB,
            rounds=options.rounds,
            server_core=SERVER_CORE,
            load_core=LOAD_CORE,
            say=say,
        )
    except (DidNotServeError, WrongCountError) as error:
        sys.exit(f"a server did not do what it was asked: {error}")
    if options.json:
        print(json.dumps([dataclasses.asdict(each) for each in results], indent=2))
    else:
        print(format_throughput(results))


def require_two_cores() -> None:
    """End the program where there is only one."""
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        sys.exit("this needs two cores: one for the server, one for the load")


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with ``contestants`` as chosen by ``--only``."""
    names = [each.name for each in CONTESTANTS]
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument("--suite", default="hello", choices=["hello", "throughput"])
    parser.add_argument(
        "--mib", type=int, default=1024, help="of a body, for throughput"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="of each body, for throughput"
    )
    parser.add_argument(
        "--duration", type=float, default=5.0, help="seconds of load for each server"
    )
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--svg", type=Path, help="write a chart to this file, too")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args(arguments)
    chosen = options.only or names
    options.contestants = [each for each in CONTESTANTS if each.name in chosen]
    return options


def measure_or_skip(
    contestant: Contestant, options: argparse.Namespace
) -> Result | None:
    """Measure one; None, and a line why, when it cannot be."""
    if not contestant.is_installed():
        say(f"{contestant.name}: skipped, {contestant.needs} is not installed")
        return None
    say(f"{contestant.name} ...", end="\r" if sys.stderr.isatty() else "\n")
    try:
        result = measure(contestant, options.connections, options.duration)
    except (DidNotServeError, subprocess.CalledProcessError) as error:
        say(f"{contestant.name}: skipped, it did not serve: {error}")
        return None
    say(f"{result.name}: {result.cpu_us:.2f} us, {result.requests_per_s:,.0f}/s")
    return result


def measure(contestant: Contestant, connections: int, duration_s: float) -> Result:
    """Warm up, then load for ``duration_s`` seconds.

    Raises:
        DidNotServeError: It did not come up, or serves something else.
    """
    with serving(contestant, SERVER_CORE) as served:
        content = fetch(served.port).partition(b"\r\n\r\n")[2]
        if json.loads(content) != BODY:
            raise DidNotServeError(f"it serves {content!r}")
        run_wrk(served.port, core=LOAD_CORE, connections=connections, duration_s=1)
        before_s = served.cpu_s()
        load = run_wrk(
            served.port, core=LOAD_CORE, connections=connections, duration_s=duration_s
        )
        spent_s = served.cpu_s() - before_s
        return Result(
            name=contestant.name,
            cpu_us=spent_s / load.request_count * 1e6,
            requests_per_s=load.requests_per_s,
            p50_ms=load.p50_ms,
            p99_ms=load.p99_ms,
            pss_bytes=served.pss_bytes(),
            error_count=load.error_count,
        )


def say(text: str, end: str = "\n") -> None:
    """Progress, on standard error, so that ``--json`` stays JSON."""
    print(f"{text:60}" if sys.stderr.isatty() else text, end=end, file=sys.stderr)


if __name__ == "__main__":
    main()
