"""Autobahn|Testsuite against ``io.WebSocket``: ``make autobahn``, by hand.

Its client needs Python 2.7; ``test_rfc6455_frames`` has a table of the same cases.
"""

import asyncio
import collections
import json
import sys
import tempfile
from pathlib import Path

import blazeio as io
from blazeio.testing import TestServer

CASES = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
SAMPLES = [f"{group}.{part}.1" for group in (12, 13) for part in range(1, 6)]
SAMPLES += ["12.1.10", "12.2.9", "12.3.18", "13.3.9", "13.5.10", "13.7.1"]
MESSAGE_BYTES = 16 * 1024 * 1024
GOOD = frozenset(("OK", "NON-STRICT", "INFORMATIONAL", "UNCLEAN"))
AGENT = "blazeio"

web = io.App("127.0.0.1", 0)


@web.add_route
async def echo(r: io.BlazeioServerProtocol, route: str = "/") -> None:
    async with io.WebSocket(r, compress=True, message_bytes=MESSAGE_BYTES) as ws:
        async for message in ws:
            await ws.send(message)


async def run_cases(wstest: str, folder: Path) -> dict[str, dict[str, str]]:
    """How each case went."""
    async with TestServer(web) as server:
        spec = {
            "outdir": str(folder),
            "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{server.port}/"}],
            "cases": CASES + SAMPLES,
            "exclude-cases": [],
        }
        path = folder / "spec.json"
        path.write_text(json.dumps(spec))
        command = [wstest, "--mode", "fuzzingclient", "--spec", str(path)]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait():
            sys.exit(f"{wstest} failed")
    cases: dict[str, dict[str, str]] = json.loads((folder / "index.json").read_text())[
        AGENT
    ]
    return cases


def main() -> None:
    """Run all, print what is not good and how many were what."""
    with tempfile.TemporaryDirectory(prefix="autobahn-") as name:
        cases = asyncio.run(run_cases(sys.argv[1], Path(name)))
    failed = False
    for number, case in sorted(cases.items()):
        if not {case["behavior"], case["behaviorClose"]} <= GOOD:
            failed = True
            print(number, case["behavior"], case["behaviorClose"])
    counts = collections.Counter(case["behavior"] for case in cases.values())
    print(f"{len(cases)} cases:", ", ".join(f"{n} {b}" for b, n in counts.items()))
    sys.exit(failed)


if __name__ == "__main__":
    main()
