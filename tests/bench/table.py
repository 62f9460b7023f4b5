"""``make bench-all``: each case of the table beside its peers, and its bar.

The servers of a case take turns, round after round; a ratio is the median of those
of the rounds, with the least and the most of them. Nothing here fails a build.

    python -m tests.bench.table --only hello --only cookie --rounds 7
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence

from tests.bench.bulk_client import WrongCountError
from tests.bench.case_servers import SERVERS
from tests.bench.cases import CASES, Case
from tests.bench.gateway_cases import GATEWAY_CASES
from tests.bench.gateway_servers import GATEWAY_SERVERS
from tests.bench.interpreter import read_interpreter
from tests.bench.measures import SERVER_CORE, bind_span
from tests.bench.other_cases import OTHER_CASES, OtherCase
from tests.bench.pairs import Samples, pair, take_rounds
from tests.bench.serving import DidNotServeError, serving

ALL_CASES: tuple[Case | OtherCase, ...] = (*CASES, *OTHER_CASES, *GATEWAY_CASES)
ALL_SERVERS = SERVERS | GATEWAY_SERVERS
Line = dict[str, object]
REASONS_PAGE = "docs/explanation/measurements.md"
REASONS = {
    "supervised": "Supervised",
    "observed": "Supervised, with access log",
    "close": "A connection per request",
    "parameters": "A path with parameters",
    "unknown-names": "Fields of unknown names",
    "reload": "Reload",
    "idle-64": "64 idle workers",
    "client": "The client",
    "download": "Download",
    "download-same-core": "Download",
    "tls-download": "Download over TLS",
    "websocket": "WebSocket, 64 octets",
    "asgi-browser": "ASGI, a browser's fields",
    "asgi-websocket": "ASGI, WebSocket",
    "asgi-fastapi": "FastAPI",
    "asgi-fastapi-model": "FastAPI",
}
"""By case, the words with which its page begins to say why a bar is not met."""
HEAD = (
    f"{'case':18} {'unit':6} {'ours':>8} {'ratio [spread]':>32} {'bar':>5} met? others"
)


def measure_case(case: Case | OtherCase, rounds: int, span_s: float) -> Samples:
    """Start its servers, and measure them in turns; one that cannot run is left out.

    Raises:
        DidNotServeError: Ours did not come up, or the one it is compared with.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(case, OtherCase):
            return take_rounds(stack.enter_context(case.prepare()), rounds)
        takers = {}
        for name in case.servers:
            server = ALL_SERVERS[name]
            try:
                if not server.is_installed():
                    raise DidNotServeError(f"{server.needs} is not installed")
                served = stack.enter_context(serving(server, SERVER_CORE))
            except DidNotServeError as error:
                if name in (case.ours, case.base):
                    raise
                print(f"{case.name}: without {name}: {error}", file=sys.stderr)
            else:
                takers[name] = bind_span(case.measure, served, span_s)
        return take_rounds(takers, rounds)


def judge(case: Case | OtherCase, samples: Samples) -> Line:
    """One line of the table, as values."""
    ours = samples[case.ours]
    figure = statistics.median(ours)
    line: Line = {"case": case.name, "unit": case.unit, "ours": figure, "bar": case.bar}
    if not case.base:
        line |= {"ratio": f"[{min(ours):.2f}-{max(ours):.2f}]"}
        return line | {"is_met": figure <= case.bar, "others": {}}
    ratio = pair(ours, samples[case.base])
    others = {
        name: str(pair(samples[name], samples[case.base]))
        for name in case.peers
        if name in samples
    }
    is_met = ratio.median <= case.bar
    if case.peer_bar is not None and case.peers[0] in samples:
        beside = pair(ours, samples[case.peers[0]])
        others["ours to it"] = f"{beside} (bar {case.peer_bar:.2f})"
        is_met = is_met and beside.median <= case.peer_bar
    line |= {"ratio": f"{ratio} {case.base}", "is_met": is_met}
    return line | {"others": others, "base": statistics.median(samples[case.base])}


def format_line(line: Line) -> str:
    """One line of the table, for people."""
    others = line["others"]
    assert isinstance(others, dict)
    beside = ", ".join(f"{name} {ratio}" for name, ratio in others.items())
    verdict = "yes" if line["is_met"] else "no"
    text = (
        f"{line['case']:18} {line['unit']:6} {line['ours']:8.2f} {line['ratio']:>32}"
        f" {line['bar']:5.2f} {verdict:4} {beside}"
    )
    return text if line["is_met"] else f"{text}\n  {explain(str(line['case']))}"


def explain(name: str) -> str:
    """Where it is written why the bar of a case is not met."""
    if name in REASONS:
        return f'why not: "{REASONS[name]}" in {REASONS_PAGE}'
    return "why not: nobody has written it down; perf and tests.bench.instructions tell"


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    names = [each.name for each in ALL_CASES]
    parser = argparse.ArgumentParser("python -m tests.bench.table", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round")
    parser.add_argument("--json", action="store_true", help="a line of JSON each")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases that are asked for; print each as it is known."""
    options = parse_options(arguments)
    interpreter = read_interpreter()
    print(interpreter.to_json() if options.json else f"{interpreter}\n{HEAD}")
    for case in ALL_CASES:
        if options.only and case.name not in options.only:
            continue
        try:
            line = judge(case, measure_case(case, options.rounds, options.seconds))
        except (
            DidNotServeError,
            WrongCountError,
            subprocess.SubprocessError,
            OSError,
            RuntimeError,
        ) as error:
            print(f"{case.name:18} was not measured: {error}", flush=True)
            continue
        print(json.dumps(line) if options.json else format_line(line), flush=True)


if __name__ == "__main__":
    main()
