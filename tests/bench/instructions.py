"""Instructions of one request, or of one step of it, counted by callgrind.

    python -m tests.bench.instructions --only hello --only cookie

A process under valgrind serves connections whose transports keep nothing, and calls
``getpgrp`` before and ``getppid`` after each measured loop: at these callgrind
sets its counters to zero and writes them down. The counts of two runs differ by some
tenths of a percent. About 9,400 instructions take a microsecond (CPython 3.11,
2 cores of an AMD EPYC); system calls are not in them.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tests.bench.interpreter import read_interpreter
from tests.bench.requests import ANSWERS, REQUESTS, make_request, prepare_folder

if TYPE_CHECKING:
    from blazeio.app.app import App
    from blazeio.protocol.request import BlazeioServerProtocol
    from blazeio.server.server import Server

CONNECTIONS = 16
TURNS = 16
WARM_UP_TURNS = 4
REPOSITORY = Path(__file__).parents[2]
Step = Callable[[], Awaitable[int]]
"""Does something so often as it returns."""


class MissingValgrindError(Exception):
    """There is no valgrind here."""


# In the process that is measured


class Connections:
    """Connections without sockets, which all ask in each turn of the loop.

    Args:
        server: Whose they are.
        octets: What one after the other asks.
    """

    def __init__(self, server: "Server", octets: Sequence[bytes]) -> None:
        from blazeio.protocol.http1 import Http1Connection
        from tests.bench.access_log import Silent

        self._context = server.context
        self._octets = octets
        self._place = 0
        self._all = [Http1Connection(server.context) for _ in range(CONNECTIONS)]
        for each in self._all:
            Silent(each, peername=("192.0.2.1", 54321))

    async def ask(self, turns: int = TURNS) -> int:
        """Have each ask in so many turns; how many requests that were."""
        octets = self._octets
        for _ in range(turns):
            for each in self._all:
                each.data_received(octets[self._place])
                self._place = (self._place + 1) % len(octets)
            while self._context.in_flight:  # noqa: ASYNC110 - turns are measured
                await asyncio.sleep(0)
        return turns * len(self._all)

    def close(self) -> None:
        """Forget them."""
        for each in self._all:
            each.connection_lost(None)


class NewConnections(Connections):
    """Each request comes on a connection of its own."""

    async def ask(self, turns: int = TURNS) -> int:
        """Make connections, ask once on each, lose them."""
        count = 0
        for _ in range(turns):
            Connections.__init__(self, self._server, self._octets)
            count += await super().ask(1)
            self.close()
            self._all = []
        return count

    def __init__(self, server: "Server", octets: Sequence[bytes]) -> None:
        super().__init__(server, octets)
        self._server = server
        self.close()


class Echoes(Connections):
    """WebSockets: each has one message under way, and gets it back."""

    async def ask(self, turns: int = TURNS) -> int:
        """Send a message on each in so many turns; the first call shakes hands."""
        handshake, octets = self._octets
        transports = [each.transport for each in self._all]
        if not self._context.in_flight:
            for each in self._all:
                each.data_received(handshake)
            await asyncio.sleep(0)  # the handlers begin
        protocols = [cast(asyncio.Protocol, each.get_protocol()) for each in transports]
        for _ in range(turns):
            for protocol in protocols:
                protocol.data_received(octets)
            await asyncio.sleep(0)  # each handler is woken, and sends
        return turns * len(protocols)


async def count_in_turn(names: Sequence[str]) -> None:
    """Do the steps one after the other, each between two marks."""
    from tests.bench.apps.blazeio_cases import web

    loop = asyncio.get_running_loop()
    await web.init()
    for name in names:
        if name in CLIENTS:
            await _count_client(name)
            continue
        server, kind, octets = STEPS[name](loop)
        # Under valgrind all takes fifty times as long: no span would be a usual one.
        server.context.now = itertools.count(loop.time(), 1e-6).__next__
        step = kind(server, octets)
        answers = ANSWERS.get(name, 1)
        # each of the requests has been seen, unless they are too many to be kept
        warm_up = max(WARM_UP_TURNS, min(len(octets), 512) // CONNECTIONS)
        await step.ask(warm_up)
        os.getpgrp()
        count = await step.ask()
        os.getppid()
        print(json.dumps([name, count * answers]), flush=True)
        step.close()
    await web.stop_hooks()


async def _count_client(name: str) -> None:
    from tests.bench import client_requests

    step: client_requests.SessionRequests = getattr(client_requests, CLIENTS[name])()
    await step.ask(WARM_UP_TURNS)
    os.getpgrp()
    count = await step.ask(4 * TURNS)
    os.getppid()
    print(json.dumps([name, count]), flush=True)
    await step.close()


Made = tuple["Server", type[Connections], Sequence[bytes]]
Maker = Callable[[asyncio.AbstractEventLoop], Made]


def _of_the_app(name: str, kind: type[Connections] = Connections) -> Maker:
    def make(loop: asyncio.AbstractEventLoop) -> Made:
        from tests.bench.apps.blazeio_cases import web

        return web.make_server(loop), kind, REQUESTS[name]

    return make


def _raw_handler(loop: asyncio.AbstractEventLoop) -> Made:
    from blazeio.limits import Limits
    from blazeio.server.server import Server

    async def hello(r: "BlazeioServerProtocol") -> None:
        r.reply(b'{"hello":"world"}')

    return Server(hello, Limits(), loop), Connections, REQUESTS["hello"]


def _with_headers(loop: asyncio.AbstractEventLoop) -> Made:
    from blazeio.limits import Limits
    from blazeio.server.server import Server

    async def hello(r: "BlazeioServerProtocol") -> None:
        r.reply(
            b'{"hello":"world"}',
            headers={"Cache-Control": "no-store", "Vary": "Origin"},
        )

    return Server(hello, Limits(), loop), Connections, REQUESTS["hello"]


def _with_timeout(loop: asyncio.AbstractEventLoop) -> Made:
    from blazeio.limits import Limits
    from tests.bench.apps.blazeio_cases import web

    server = web.make_server(loop, limits=Limits(handler_timeout_s=30))
    return server, Connections, REQUESTS["hello"]


def _with_access_log(loop: asyncio.AbstractEventLoop) -> Made:
    from blazeio.server.access_log import AccessLog
    from tests.bench.apps.blazeio_cases import web

    log = AccessLog("/dev/null", loop)
    return web.make_server(loop, access_log=log), Connections, REQUESTS["hello"]


def _as_worker(maker: Maker) -> Maker:
    """What a worker adds: each request is named, each response counted."""

    def make(loop: asyncio.AbstractEventLoop) -> Made:
        from tests.bench.counting import count_as_worker

        made = maker(loop)
        count_as_worker(made[0])
        return made

    return make


def _small_app(*, declares: bool, counts_routes: bool = False) -> Maker:
    """One route in a worker, and all that an app may declare beside it, or nothing.

    What is declared is not used by the request: it must cost nothing.
    """

    def make(loop: asyncio.AbstractEventLoop) -> Made:
        import blazeio as io
        from tests.bench.counting import count_as_worker, count_routes

        app = io.App()

        @app.route.get("/")
        async def hello(r: io.BlazeioServerProtocol) -> None:
            r.reply(b'{"hello":"world"}')

        if declares:
            _declare_all(app, loop)
        server = app.make_server(loop)
        count_as_worker(server)
        if counts_routes:
            count_routes(server)
        return server, Connections, REQUESTS["hello"]

    return make


def _declare_all(app: "App[Any]", loop: asyncio.AbstractEventLoop) -> None:
    import blazeio as io
    from blazeio_supervisor.ipc.signals import PROFILE_SIGNAL
    from blazeio_supervisor.worker.profiler import ProfileOrders

    app.metrics.counter("orders_total", "Orders.").inc()
    app.metrics.histogram("spans", "Spans.", buckets=(1, 2)).observe(1)
    app.on_broadcast(print)
    app.on_warm(dict)
    app.on_drain(dict)

    @app.add_task(once=True, every="1h")
    async def tick() -> None:
        """Run once in the service."""

    @app.add_route
    async def talk(r: io.BlazeioServerProtocol, route: str = "/ws") -> None:
        async with io.WebSocket(r) as ws:
            ws.handover(bytes)

    asker, _ = socket.socketpair()
    signal.signal(PROFILE_SIGNAL, ProfileOrders(asker, lambda: loop).begin)


def _with_routes(count: int, path: str) -> Maker:
    def make(loop: asyncio.AbstractEventLoop) -> Made:
        import blazeio as io

        app = io.App()

        async def answer(r: io.BlazeioServerProtocol) -> None:
            r.reply(b"")

        for number in range(count // 2):
            app.add_route(answer, f"/static{number}/page")
            app.add_route(answer, f"/items{number}/{{id:int}}")
        return app.make_server(loop), Connections, [make_request(path)]

    return make


def _with_fields(count: int) -> Maker:
    def make(loop: asyncio.AbstractEventLoop) -> Made:
        from tests.bench.apps.blazeio_cases import web

        # values that differ, so that no memo has the section
        heads = [
            make_request("/", *(f"X-Unknown-{n}: {n}-{m}" for n in range(count)))
            for m in range(512)
        ]
        return web.make_server(loop), Connections, heads

    return make


def _with_echoes(loop: asyncio.AbstractEventLoop) -> Made:
    from tests.bench.apps.blazeio_cases import web
    from tests.bench.websocket_echo import HANDSHAKE, SENT

    return web.make_server(loop), Echoes, [HANDSHAKE, SENT]


STEPS: dict[str, Maker] = {
    **{name: _of_the_app(name) for name in REQUESTS},
    "connection per request": _of_the_app("hello", NewConnections),
    "raw handler": _raw_handler,
    "raw handler, headers": _with_headers,
    "handler timeout": _with_timeout,
    "supervised": _as_worker(_of_the_app("hello")),
    "nothing declared": _small_app(declares=False),
    "all declared": _small_app(declares=True),
    "routes counted": _small_app(declares=False, counts_routes=True),
    "access log": _with_access_log,
    "websocket echo": _with_echoes,
    "observed": _as_worker(_with_access_log),
    **{f"{n} routes": _with_routes(n, "/static3/page") for n in (10, 1000, 10_000)},
    **{f"{n} patterns": _with_routes(n, "/items3/7") for n in (10, 1000, 10_000)},
    **{f"{n} fields": _with_fields(n) for n in (1, 10, 50)},
}


CLIENTS = {"client": "SessionRequests", "bare protocol": "BareRequests"}
"""Requests of a client, by their class in ``client_requests``."""


# In the process that asks


def count_instructions(names: Sequence[str], timeout_s: float = 300) -> dict[str, int]:
    """Run the steps under callgrind; return instructions a request.

    Raises:
        MissingValgrindError: There is none.
        RuntimeError: The process failed.
    """
    if not shutil.which("valgrind"):
        raise MissingValgrindError("this needs valgrind: apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="callgrind-") as folder:
        out = Path(folder) / "out"
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={out}",
                "--zero-before=getpgrp",
                "--dump-before=getppid",
                sys.executable,
                "-m",
                "tests.bench.instructions",
                "--be",
                *names,
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        counts = [json.loads(line) for line in done.stdout.splitlines()]
        return {
            name: _read_total(Path(f"{out}.{number}")) // requests
            for number, (name, requests) in enumerate(counts, 1)
        }


def _read_total(path: Path) -> int:
    """Return the instructions of one dump."""
    found = re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.MULTILINE)
    assert found is not None, path
    return int(found[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Count what is asked for; print a line each."""
    parser = argparse.ArgumentParser(
        "python -m tests.bench.instructions", description=__doc__
    )
    parser.add_argument("--only", action="append", choices=[*STEPS, *CLIENTS])
    parser.add_argument("--be", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.be:
        import uvloop

        with prepare_folder():
            uvloop.run(count_in_turn(options.be))
        return
    try:
        counts = count_instructions(options.only or [*STEPS, *CLIENTS])
    except MissingValgrindError as error:
        sys.exit(str(error))
    print(read_interpreter())
    for name, count in counts.items():
        print(f"{name:28}{count:10,}")


if __name__ == "__main__":
    main()
