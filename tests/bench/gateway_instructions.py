"""Instructions of a request to an ASGI app, by us and by uvicorn: by callgrind.

    python -m tests.bench.gateway_instructions --only hello --only browser

As ``instructions``: without sockets, so that what kernel and loop do for each read
and write is in neither figure. ``--time`` takes the time instead, in turns.
"""

import argparse
import asyncio
import importlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.contestants import APPS
from tests.bench.gateway_requests import GATEWAY_REQUESTS
from tests.bench.interpreter import read_interpreter

if TYPE_CHECKING:
    from blazeio.protocol.context import ServerContext

REPOSITORY = Path(__file__).parents[2]
CONNECTIONS = 16
WARM_UP_TURNS, TURNS = 48, 32
SERVERS = ("blazeio", "uvicorn")
ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Served:
    """An app as one server serves it.

    Attributes:
        make_protocol: Makes the server's side of a connection.
        is_busy: Whether a request is still served.
        context: Of our server; None: it is not ours.
    """

    make_protocol: Callable[[], asyncio.Protocol]
    is_busy: Callable[[], object]
    context: "ServerContext | None" = None


class NullTransport(asyncio.Transport):
    """A transport that keeps nothing.

    Attributes:
        answers: How many writes there were.
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        names = {"peername": ("192.0.2.1", 54321), "sockname": ("192.0.2.2", 80)}
        super().__init__(names)
        self.answers = 0
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop it."""
        self.answers += 1

    def is_closing(self) -> bool:
        """Never."""
        return False

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Hold any amount."""

    def get_write_buffer_size(self) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Stay."""

    def pause_reading(self) -> None:
        """Go on."""

    def resume_reading(self) -> None:
        """Go on."""


class Peer:
    """Connections that ask in each turn of the loop.

    Args:
        served: The app.
        octets: What one connection after the other asks.
    """

    def __init__(self, served: Served, octets: Sequence[bytes]) -> None:
        self._served = served
        self._octets = octets
        self._place = 0
        self._all = [served.make_protocol() for _ in range(CONNECTIONS)]
        self._transports = [NullTransport(each) for each in self._all]

    async def ask(self, turns: int) -> int:
        """Have each ask in so many turns; how many requests that were."""
        octets = self._octets
        for _ in range(turns):
            for each in self._all:
                each.data_received(octets[self._place])
                self._place = (self._place + 1) % len(octets)
            while self._served.is_busy():  # noqa: ASYNC110 - turns are measured
                await asyncio.sleep(0)
        return turns * len(self._all)


async def make_ours(app: Any) -> Served:
    """Serve by us, with the counter of a supervised worker."""
    from blazeio.app.mounting import ForeignApp
    from blazeio.gateways.interfaces import Interface
    from blazeio.protocol.http1 import Http1Connection
    from tests.bench.counting import count_as_worker

    web = ForeignApp(app, Interface.ASGI, "app")
    server = web.make_server(asyncio.get_running_loop())
    await web.init()
    count_as_worker(server)
    kind = web._request_class
    context = server.context
    return Served(
        lambda: Http1Connection(context, None, kind),
        lambda: context.in_flight,
        context,
    )


async def make_uvicorn(app: Any) -> Served:
    """Serve by uvicorn, by its faster parser."""
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.server import ServerState

    config = Config(app, access_log=False, log_level="critical", http="httptools")
    config.load()
    state = ServerState()
    return Served(lambda: HttpToolsProtocol(config, state, {}), lambda: state.tasks)


MAKERS = {"blazeio": make_ours, "uvicorn": make_uvicorn}


async def make_peer(server: str, name: str, *, is_counted: bool = False) -> Peer:
    """Make the connections of one case, warm."""
    module, octets = GATEWAY_REQUESTS[name]
    app = importlib.import_module(module).app
    served = await MAKERS[server](app)
    if is_counted and served.context is not None:
        # Under valgrind all takes fifty times as long: no span would be a usual one.
        start = served.context.loop.time()
        served.context.now = itertools.count(start, 1e-6).__next__
    peer = Peer(served, octets)
    await peer.ask(WARM_UP_TURNS)
    return peer


async def count_in_turn(names: Sequence[str]) -> None:
    """Do each case by each server, between two marks."""
    for name in names:
        for server in SERVERS:
            peer = await make_peer(server, name, is_counted=True)
            os.getpgrp()
            count = await peer.ask(TURNS)
            os.getppid()
            print(json.dumps([name, server, count]), flush=True)


async def time_in_turn(names: Sequence[str]) -> None:
    """Take the CPU time of each case by each server in turns; print the medians."""
    for name in names:
        peers = [await make_peer(server, name) for server in SERVERS]
        spans: list[list[float]] = [[] for _ in peers]
        for _ in range(ROUNDS):
            for peer, found in zip(peers, spans, strict=True):
                before_ns = time.thread_time_ns()
                count = await peer.ask(TURNS)
                found.append((time.thread_time_ns() - before_ns) / 1e3 / count)
        ours, other = map(statistics.median, spans)
        ratios = [one / two for one, two in zip(*spans, strict=True)]
        ratio = statistics.median(ratios)
        print(f"{name:20}{ours:9.2f} us{other:9.2f} us{ratio:7.2f}", flush=True)


def count_instructions(names: Sequence[str]) -> dict[str, list[int]]:
    """Run the cases under callgrind; instructions a request, ours first."""
    with tempfile.TemporaryDirectory(prefix="callgrind-") as folder:
        out = Path(folder) / "out"
        marks = ["--zero-before=getpgrp", "--dump-before=getppid"]
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *marks]
        again = [sys.executable, "-m", "tests.bench.gateway_instructions", "--be"]
        done = subprocess.run(
            [*tool, *again, *names],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        found: dict[str, list[int]] = {}
        for number, line in enumerate(done.stdout.splitlines(), 1):
            name, _, requests = json.loads(line)
            text = Path(f"{out}.{number}").read_text()
            total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
            assert total is not None, text[:200]
            found.setdefault(name, []).append(int(total[1]) // requests)
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Count what is asked for; print a line each."""
    parser = argparse.ArgumentParser(
        "python -m tests.bench.gateway_instructions", description=__doc__
    )
    parser.add_argument("--only", action="append", choices=list(GATEWAY_REQUESTS))
    parser.add_argument("--time", action="store_true", help="and not instructions")
    parser.add_argument("--be", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.only or list(GATEWAY_REQUESTS)
    sys.path.insert(0, str(APPS))
    if options.be or options.time:
        import uvloop

        uvloop.run(count_in_turn(options.be) if options.be else time_in_turn(names))
        return
    print(read_interpreter())
    for name, (ours, other) in count_instructions(names).items():
        print(f"{name:20}{ours:10,}{other:10,}{ours / other:7.2f}")


if __name__ == "__main__":
    main()
