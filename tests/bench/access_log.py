"""What a line of the access log costs a request.

    python -m tests.bench.access_log

Connections without sockets are served by one loop, each asks once per turn. The
same is done without a log and with one, in turns; the difference of the best
rounds is the cost: composing the line, and the share of the turn's one write.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path

import uvloop

from blazeio.limits import Limits
from blazeio.protocol.context import Recorder, ServerContext
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.access_log import AccessLog
from tests.support.transport import FakeTransport

BROWSER = (
    b"GET /api/items?page=2 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101\r\n"
    b"Accept: application/json\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Referer: https://www.example.com/items\r\n"
    b"\r\n"
)
SHORTEST = b"GET /api/items?page=2 HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
BODY = b'{"message":"Hello, World!"}'
FORMATS = ("combined", "json", "{method} {target} {status}")
ROUNDS = 41
REQUESTS = {"briefly": SHORTEST, "browser": BROWSER}
REQUESTS_A_ROUND = 1024


class Silent(FakeTransport):
    """A transport that keeps nothing of what is written."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop it."""


async def hello(r: BlazeioServerProtocol) -> None:
    """The shortest handler."""
    r.reply(BODY)


class Load:
    """Connections that ask at the same time, again and again.

    Args:
        request: What each asks.
        count: How many of them.
        recorder: Told of each response; None: nobody is.
    """

    def __init__(self, request: bytes, count: int, recorder: Recorder | None) -> None:
        self.context = ServerContext(hello, Limits(), asyncio.get_running_loop())
        if recorder is not None:
            self.context.record_responses(recorder)
        if isinstance(recorder, AccessLog):
            self.context.know_clients()
        self._all = [Http1Connection(self.context) for _ in range(count)]
        for each in self._all:
            Silent(each, peername=("192.0.2.1", 54321))
        self._size = len(request)
        self.context.receive_view[: self._size] = request

    async def run(self, turns: int) -> float:
        """Microseconds per request."""
        size = self._size
        started_at = time.process_time()
        for _ in range(turns):
            for each in self._all:
                each.buffer_updated(size)
            await asyncio.sleep(0)
            assert not self.context.in_flight
        span_s = time.process_time() - started_at
        return span_s * 1e6 / (turns * len(self._all))


async def measure(
    path: str, format_text: str, request: bytes, count: int
) -> tuple[float, float]:
    """Microseconds per request, without and with the log."""
    log = AccessLog(path, asyncio.get_running_loop(), format_text=format_text)
    loads = (Load(request, count, None), Load(request, count, log))
    spans: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for load, found in zip(loads, spans, strict=True):
            found.append(await load.run(REQUESTS_A_ROUND // count))
    log.close()
    assert not log.lost_count
    return min(spans[0]), min(spans[1])


def main() -> None:
    """Measure each format, for few and for many requests in a turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    run = uvloop.run if parser.parse_args().loop == "uvloop" else asyncio.run
    print(f"{'format':28}{'to':10}{'asked':10}{'a turn':>6}", end="")
    print(f"{'without':>9}{'with':>8}{'us':>7}")
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "access.log"))
        for text, path, (asked, request), count in itertools.product(
            FORMATS, (file, "/dev/null"), REQUESTS.items(), (1, 16, 64)
        ):
            off, on = run(measure(path, text, request, count))
            name = "a file" if path == file else path
            print(f"{text:28}{name:10}{asked:10}{count:6}", end="")
            print(f"{off:9.2f}{on:8.2f}{on - off:7.2f}", flush=True)


if __name__ == "__main__":
    main()
