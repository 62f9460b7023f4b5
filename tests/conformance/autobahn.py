"""Autobahn|Testsuite against ``io.WebSocket`` and an ASGI app: ``make autobahn``.

Its client needs Python 2.7; ``test_rfc6455_frames`` has a table of the same cases.
"""

import asyncio
import collections
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import blazeio as io
from blazeio.gateways.asgi import LifespanMode
from blazeio.gateways.interfaces import Interface
from blazeio.testing import TestServer
from tests.gateways.apps import make_foreign

Case = dict[str, str]

CASES = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
SAMPLES = [f"{group}.{part}.1" for group in (12, 13) for part in range(1, 6)]
SAMPLES += ["12.1.10", "12.2.9", "12.3.18", "13.3.9", "13.5.10", "13.7.1"]
MESSAGE_BYTES = 16 * 1024 * 1024
GOOD = frozenset(("OK", "NON-STRICT", "INFORMATIONAL", "UNCLEAN"))

web = io.App("127.0.0.1", 0)


@web.add_route
async def echo(r: io.BlazeioServerProtocol, route: str = "/") -> None:
    async with io.WebSocket(r, compress=True, message_bytes=MESSAGE_BYTES) as ws:
        async for message in ws:
            await ws.send(message)


async def echo_by_asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


AGENTS = {
    "blazeio": web,
    "asgi": make_foreign(echo_by_asgi, Interface.ASGI, lifespan=LifespanMode.OFF),
}


async def run_cases(agent: str, wstest: str, folder: Path) -> dict[str, Case]:
    """How each case went."""
    async with TestServer(AGENTS[agent]) as server:
        spec = {
            "outdir": str(folder),
            "servers": [{"agent": agent, "url": f"ws://127.0.0.1:{server.port}/"}],
            "cases": CASES + SAMPLES,
            "exclude-cases": [],
        }
        path = folder / "spec.json"
        path.write_text(json.dumps(spec))
        command = [
            str(Path(wstest).absolute()),
            "--mode",
            "fuzzingclient",
            "--spec",
            str(path),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait():
            sys.exit(f"{wstest} failed")
    cases: dict[str, Case] = json.loads((folder / "index.json").read_text())[agent]
    return cases


def main() -> None:
    """Run all, print what is not good and how many were what."""
    failed = False
    for agent in AGENTS:
        with tempfile.TemporaryDirectory(prefix="autobahn-") as name:
            cases = asyncio.run(run_cases(agent, sys.argv[1], Path(name)))
        for number, case in sorted(cases.items()):
            if not {case["behavior"], case["behaviorClose"]} <= GOOD:
                failed = True
                print(agent, number, case["behavior"], case["behaviorClose"])
        counts = collections.Counter(case["behavior"] for case in cases.values())
        summary = ", ".join(f"{n} {b}" for b, n in counts.items())
        print(f"{agent}: {len(cases)} cases: {summary}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
