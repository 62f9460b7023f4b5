"""One line for each response that is over, and never a wait for who takes it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from blazeio.limits import Limits
from blazeio.protocol.carrier import make_trust
from blazeio.server import access_log as module
from blazeio.server.access_log import HELD_BYTES, AccessLog
from tests.protocol.serving import (
    GET,
    R,
    Served,
    chunks,
    forever,
    hello,
    post,
    request,
)
from tests.support.clock import scaled, wait_until

FORMAT = "{client_host} {method} {target} {status} {content_bytes} {outcome}"


class Logged:
    """A server, and its log.

    Attributes:
        log: Under test.
        served: The server that it is told by.
    """

    def __init__(self, log: AccessLog, served: Served, path: Path) -> None:
        self.log = log
        self.served = served
        self._path = path

    @property
    def lines(self) -> list[str]:
        """What is in the file."""
        return self._path.read_text().splitlines()

    async def has(self, *lines: str) -> None:
        """Wait until exactly these lines are there."""
        try:
            await wait_until(lambda: self.lines == list(lines))
        except AssertionError:
            assert self.lines == list(lines)


Serve = Callable[..., Logged]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """``serve(handler, path, **limits)``: a server with a log, on both loops."""
    sites: list[Logged] = []

    def start(
        handler: Any = hello,
        path: Path | None = None,
        *,
        unix_path: str = "",
        format_text: str = FORMAT,
        raw_handler: Any = None,
        **limits: Any,
    ) -> Logged:
        path = path or tmp_path / "access.log"
        loop = asyncio.get_running_loop()
        log = AccessLog(str(path), loop, format_text=format_text, worker="3")
        served = Served.start(
            handler,
            Limits(**limits),
            unix_path,
            raw_handler=raw_handler,
            trust=make_trust(forwarded_allow_ips="127.0.0.1"),
            access_log=log,
        )
        sites.append(Logged(log, served, path))
        return sites[-1]

    yield start
    for site in sites:
        await site.served.end()
    await asyncio.sleep(0)


# Which responses


async def test_each_response_of_a_connection_has_its_line(serve: Serve) -> None:
    site = serve()
    peer = await site.served.connect()
    await peer.exchange(GET)
    await peer.exchange(request("GET", "/b?c", "X-Forwarded-For: 192.0.2.1"))
    await peer.exchange(request("HEAD", "/c"), method="HEAD")
    await site.has(
        "127.0.0.1 GET / 200 5 complete",
        "192.0.2.1 GET /b?c 200 5 complete",
        "127.0.0.1 HEAD /c 200 0 complete",
    )


async def test_pipelined_responses_have_theirs_in_order(serve: Serve) -> None:
    site = serve()
    peer = await site.served.connect()
    await peer.send(b"".join(request("GET", f"/{number}") for number in range(20)))
    await site.has(*(f"127.0.0.1 GET /{number} 200 5 complete" for number in range(20)))


async def test_a_handler_that_says_nothing_is_answered_and_logged(
    serve: Serve,
) -> None:
    async def silent(r: R) -> None:
        pass

    site = serve(silent)
    await site.served.exchange(GET)
    await site.has("127.0.0.1 GET / 204 0 complete")


async def test_a_stream_is_logged_when_it_has_ended(serve: Serve) -> None:
    may_end = asyncio.Event()

    async def stream(r: R) -> None:
        await r.write("12345")
        await may_end.wait()
        await r.write("678")

    site = serve(stream)
    peer = await site.served.connect()
    await peer.send(GET)
    await peer.read_some()
    assert site.lines == []
    may_end.set()
    await site.has("127.0.0.1 GET / 200 8 complete")


async def test_work_after_the_answer_delays_the_line(serve: Serve) -> None:
    may_end = asyncio.Event()

    async def busy(r: R) -> None:
        r.reply(b"hello")
        await may_end.wait()

    site = serve(busy)
    peer = await site.served.connect()
    await peer.exchange(GET)
    peer.reset()
    await wait_until(lambda: not site.served.server.connection_count)
    assert site.lines == []
    may_end.set()
    await site.has("127.0.0.1 GET / 200 5 complete")


async def test_content_read_past_is_not_waited_for(serve: Serve) -> None:
    site = serve()
    peer = await site.served.connect()
    await peer.send(request("POST", "/a", "Content-Length: 5") + b"12")
    await site.has("127.0.0.1 POST /a 200 5 complete")
    await peer.send(b"345" + GET)
    await site.has("127.0.0.1 POST /a 200 5 complete", "127.0.0.1 GET / 200 5 complete")


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /" + b"x" * 20_000, 414),
        (b"\x16\x03\x01\x00\x00\r\n\r\n", 400),
    ],
)
async def test_a_refused_head_has_a_line_without_a_request(
    serve: Serve, octets: bytes, status: int
) -> None:
    site = serve(format_text=f"{FORMAT} {{version}} {{duration_us}} {{authority}}")
    response = await site.served.exchange(octets)
    size = len(response.body)
    line = f"127.0.0.1 - - {status} {size} complete - 0 -"
    await site.has(line)


async def test_it_says_nothing_of_the_request_before(serve: Serve) -> None:
    site = serve(format_text="{method} {target} {path} {query} {field:host} {status}")
    peer = await site.served.connect()
    await peer.exchange(request("GET", "/a?b"))
    await peer.send(b"nonsense\r\n\r\n")
    assert (await peer.read_response()).status == 400
    await site.has("GET /a?b /a b a 200", "- - - - - 400")


async def test_a_slow_head_is_a_refused_one(serve: Serve) -> None:
    site = serve(head_timeout_s=scaled(0.1))
    peer = await site.served.connect()
    await peer.send(b"GET / ")
    response = await peer.read_response()
    await site.has(f"127.0.0.1 - - 408 {len(response.body)} complete")


async def test_a_connection_without_a_request_has_none(serve: Serve) -> None:
    site = serve(head_timeout_s=scaled(0.1))
    peer = await site.served.connect()
    await peer.read_until_end()
    await wait_until(lambda: not site.served.server.connection_count)
    assert site.lines == []


async def test_a_handler_out_of_time_is_logged_as_answered(serve: Serve) -> None:
    site = serve(forever, handler_timeout_s=scaled(0.05))
    response = await site.served.exchange(request("GET", "/slow"))
    await site.has(f"127.0.0.1 GET /slow 503 {len(response.body)} complete")


async def test_a_request_that_is_turned_away_is_logged(serve: Serve) -> None:
    site = serve(forever, in_flight=1)
    first = await site.served.connect()
    await first.send(GET)
    await wait_until(lambda: site.served.server.in_flight)
    response = await site.served.exchange(request("GET", "/b"))
    await site.has(f"127.0.0.1 GET /b 503 {len(response.body)} complete")


async def test_a_client_that_goes_away_first_has_no_status(serve: Serve) -> None:
    site = serve(forever)
    peer = await site.served.connect()
    await peer.send(request("GET", "/gone"))
    await wait_until(lambda: site.served.server.in_flight)
    peer.reset()
    await site.has("127.0.0.1 GET /gone - 0 none")


async def test_a_response_that_is_cut_says_so(serve: Serve) -> None:
    async def fail(r: R) -> None:
        await r.write("12345")
        raise ZeroDivisionError

    site = serve(fail)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # the bare server lets it out
    peer = await site.served.connect()
    await peer.send(GET)
    await site.has("127.0.0.1 GET / 200 5 cut")


async def test_a_response_short_of_its_length_is_cut(serve: Serve) -> None:
    async def short(r: R) -> None:
        await r.prepare({"Content-Length": 9})
        await r.write("12345")

    site = serve(short)
    peer = await site.served.connect()
    await peer.send(GET)
    await site.has("127.0.0.1 GET / 200 5 cut")


async def test_a_stream_to_a_client_that_resets_is_cut(serve: Serve) -> None:
    async def stream(r: R) -> None:
        await r.write("12345")
        await forever(r)

    site = serve(stream)
    peer = await site.served.connect()
    await peer.send(GET)
    await peer.read_some()
    peer.reset()
    await site.has("127.0.0.1 GET / 200 5 cut")


async def test_raw_connections_are_not_logged(serve: Serve) -> None:
    async def raw(r: R) -> None:
        async for octets in r.request():
            await r.writer(octets)

    site = serve(raw_handler=raw)
    peer = await site.served.connect()
    await peer.send(b"hello")
    assert await peer.read_some() == b"hello"
    peer.half_close()
    await wait_until(lambda: not site.served.server.connection_count)
    assert site.lines == []


async def test_over_a_unix_socket_the_client_has_no_address(
    serve: Serve, tmp_path: Path
) -> None:
    site = serve(
        unix_path=str(tmp_path / "s"),
        format_text="{client_host} {client_port} {status}",
    )
    await site.served.exchange(GET)
    await site.has("- - 200")


async def test_duration_runs_from_the_head_and_counts_content(serve: Serve) -> None:
    async def read(r: R) -> None:
        r.reply(await r.read())

    site = serve(read, format_text="{duration_us} {received_bytes} {content_bytes}")
    peer = await site.served.connect()
    await peer.send(post(b"12345")[:-1])
    await asyncio.sleep(0.05)
    await peer.send(b"5")
    await peer.read_response()
    await peer.exchange(
        request("POST", "/", "Transfer-Encoding: chunked") + chunks(b"1")
    )
    await wait_until(lambda: len(site.lines) == 2)
    first, second = (line.split() for line in site.lines)
    assert 30_000 <= int(first[0]) < 5_000_000  # clocks differ by a tick
    assert int(second[0]) < int(first[0])
    assert (first[1:], second[1:]) == (["5", "5"], ["1", "1"])


# How they are written


async def test_the_lines_of_one_turn_leave_in_one_write(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    write = os.write

    def counted(fd: int, octets: bytes) -> int:
        writes.append(octets.count(b"\n"))
        return write(fd, octets)

    may_answer = asyncio.Event()

    async def handler(r: R) -> None:
        await may_answer.wait()
        r.reply(b"hello")

    site = serve(handler)
    for _ in range(20):
        peer = await site.served.connect()
        await peer.send(GET)
    await wait_until(lambda: site.served.server.in_flight == 20)
    monkeypatch.setattr(os, "write", counted)
    may_answer.set()
    await wait_until(lambda: writes)
    monkeypatch.undo()
    assert writes == [20]
    assert len(site.lines) == 20


async def test_after_the_close_nothing_is_written(serve: Serve) -> None:
    site = serve()
    await site.served.exchange(GET)
    site.log.close()
    await site.served.exchange(GET)
    site.log.close()
    assert len(site.lines) == 1


async def test_it_is_closed_with_the_server(serve: Serve) -> None:
    site = serve()
    before = len(os.listdir("/proc/self/fd"))
    site.served.server.close()
    assert len(os.listdir("/proc/self/fd")) < before
    site.log.reopen()
    assert site.lines == []


async def test_close_writes_what_is_left(serve: Serve) -> None:
    site = serve()
    left: list[int] = []

    async def handler(r: R) -> None:
        r.reply(b"")
        asyncio.get_running_loop().call_soon(close)

    def close() -> None:
        site.log.close()
        left.append(len(site.lines))

    site.served.server.context.handler = handler
    await site.served.exchange(GET)
    await wait_until(lambda: left)
    assert left == [1]


async def test_reopening_starts_a_new_file(serve: Serve, tmp_path: Path) -> None:
    site = serve(format_text="{target}")
    await site.served.exchange(request("GET", "/1"))
    await site.has("/1")
    (tmp_path / "access.log").rename(tmp_path / "old")
    await site.served.exchange(request("GET", "/2"))
    await wait_until(lambda: (tmp_path / "old").read_text() == "/1\n/2\n")
    site.log.reopen()
    await site.served.exchange(request("GET", "/3"))
    await site.has("/3")


async def test_what_cannot_be_reopened_is_written_on(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    site = serve(path=folder / "access.log", format_text="{target}")
    (folder / "access.log").rename(tmp_path / "old")
    folder.rmdir()
    site.log.reopen()
    await site.served.exchange(request("GET", "/2"))
    await wait_until(lambda: (tmp_path / "old").read_text() == "/2\n")
    assert caplog.messages[0].endswith("going on with the old one")
    site.log.close()
    site.log.reopen()


class Pipe:
    """A pipe that is read when the test wants it.

    Attributes:
        path: Its name.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        """What waits in it."""
        octets = b""
        while True:
            try:
                more = os.read(self._fd, 65536)
            except BlockingIOError:
                return octets
            if not more:
                return octets
            octets += more

    def close(self) -> None:
        """Nobody reads it any more."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


@pytest.fixture
def pipe(tmp_path: Path) -> Any:
    pipe = Pipe(tmp_path / "fifo")
    yield pipe
    pipe.close()


LONG = "{field:x-long}" * 4
"""Lines of 4,000 octets."""


def ask_long(number: int) -> bytes:
    return request("GET", f"/{number}", f"X-Long: {number:06}{'x' * 993}.")


async def ask_many(site: Logged, numbers: range) -> None:
    """Requests, each answered, on one connection."""
    peer = await site.served.connect()
    for number in numbers:
        await peer.exchange(ask_long(number))
    peer.close()


async def test_a_blocked_pipe_holds_nobody_up_and_gets_all_later(
    serve: Serve, pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    site = serve(path=pipe.path, format_text=LONG)
    await ask_many(site, range(60))  # a pipe takes 16 of them
    octets = b""

    def read() -> bool:
        nonlocal octets
        octets += pipe.read()
        return octets.count(b"\n") == 60

    await wait_until(read)
    numbers = [int(line[:6]) for line in octets.splitlines()]
    assert numbers == list(range(60))
    assert site.log.lost_count == 0
    assert not caplog.records


async def test_what_is_held_for_a_blocked_pipe_is_bounded(
    serve: Serve,
    pipe: Pipe,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 40_000)
    site = serve(path=pipe.path, format_text=LONG)
    await ask_many(site, range(60))
    assert site.log.lost_count > 20
    assert not caplog.records, "it may go to the same pipe"
    octets = b""

    def read() -> bool:
        nonlocal octets
        octets += pipe.read()
        return octets.count(b"\n") == 60 - site.log.lost_count

    await wait_until(read)
    lost = site.log.lost_count
    assert caplog.messages == [f"access log: {lost} lines were lost"]
    await ask_many(site, range(60, 63))
    await wait_until(
        lambda: pipe.read().count(b"\n") == 3 or site.log.lost_count > lost
    )
    numbers = [int(line[:6]) for line in octets.splitlines()]
    assert numbers == sorted(numbers)
    assert site.log.lost_count == lost


async def test_a_pipe_that_breaks_while_it_is_blocked_kills_nobody(
    serve: Serve, pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    site = serve(path=pipe.path, format_text=LONG)
    await ask_many(site, range(30))
    pipe.close()
    await wait_until(lambda: caplog.messages)
    assert caplog.messages == ["access log: Broken pipe; lines are being lost"]
    await ask_many(site, range(30))
    assert site.log.lost_count == 44
    assert len(caplog.messages) == 1


async def test_a_blocked_log_is_closed_without_a_wait(serve: Serve, pipe: Pipe) -> None:
    site = serve(path=pipe.path, format_text=LONG)
    await ask_many(site, range(30))
    site.log.close()
    assert pipe.read().count(b"\n") == 16


async def test_a_blocked_log_is_reopened_with_what_is_held(
    serve: Serve, pipe: Pipe, tmp_path: Path
) -> None:
    site = serve(path=pipe.path, format_text=LONG)
    await ask_many(site, range(30))
    pipe.path.rename(tmp_path / "old")
    site.log.reopen()
    assert len(site.lines) == 14
    assert pipe.read().count(b"\n") == 16


async def test_a_full_disk_loses_lines_and_nothing_else(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    site = serve(path=Path("/dev/full"))
    for _ in range(3):
        assert (await site.served.exchange(GET)).status == 200
    await wait_until(lambda: site.log.lost_count == 3)
    assert caplog.messages == [
        "access log: No space left on device; lines are being lost"
    ]


def test_the_bound_of_what_is_held_is_some_thousand_lines() -> None:
    assert HELD_BYTES // 200 > 5000
