"""What the connections of a loop share."""

import asyncio
import platform
import time
from email.utils import parsedate_to_datetime

import pytest

from blazeio.errors import LocalProtocolError
from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.options import SERVER_NAME
from tests.protocol.serving import hello
from tests.support.live import run_to_exit


def new_context(**limits: float) -> ServerContext:
    return ServerContext(hello, Limits(**limits), asyncio.get_running_loop())  # type: ignore[arg-type]


async def test_the_start_of_a_head_has_status_date_and_server() -> None:
    start = new_context().head_start(404)
    status, date, server, end = start.split(b"\r\n")
    assert status == b"HTTP/1.1 404 Not Found"
    assert server == b"Server: " + SERVER_NAME.encode()
    assert end == b""
    seconds = parsedate_to_datetime(date.decode()[6:]).timestamp()
    assert abs(seconds - time.time()) < 5


async def test_it_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000_000.2
    monkeypatch.setattr(time, "time", lambda: now)
    context = new_context()
    first = context.head_start(200)
    assert b"\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n" in first
    now += 0.5
    assert context.head_start(200) is first
    now += 0.5
    assert b"01:46:41" in context.head_start(200)


async def test_only_final_responses_have_one() -> None:
    with pytest.raises(
        LocalProtocolError, match="status 101: expected a number, 200 to 599"
    ):
        new_context().head_start(101)


async def test_draining_shortens_the_idle_time_and_never_lengthens_it() -> None:
    context = new_context(keep_alive_timeout_s=5)
    assert (context.is_draining, context.idle_timeout_s) == (False, 5)
    context.start_draining(2)
    assert (context.is_draining, context.idle_timeout_s) == (True, 2)
    context.start_draining(30)
    assert context.idle_timeout_s == 2


async def test_closing_twice_does_no_harm() -> None:
    context = new_context()
    context.close()
    context.close()


PAGE_FAULTS = """
import asyncio, resource
from blazeio.limits import Limits
from blazeio.protocol.context import RECEIVE_BUFFER_BYTES, ServerContext

def receive():
    octets = bytearray(RECEIVE_BUFFER_BYTES)
    pieces = [bytes(octets) for _ in range(8)]

loop = asyncio.new_event_loop()
context = ServerContext(None, Limits(), loop)
receive()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    receive()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
context.close()
loop.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its malloc is meant")
def test_memory_of_large_bodies_is_reused() -> None:
    done = run_to_exit(["python", "-c", PAGE_FAULTS])
    assert int(done.stdout) < 1000, done.stderr  # given back each time: 28,800


async def test_the_plain_start_is_that_of_a_response_with_a_length() -> None:
    context = new_context()
    assert context.plain_start(200) == context.head_start(200)
    assert context.plain_start(204) is context.plain_start(304) is None


async def test_there_is_none_while_the_server_drains() -> None:
    context = new_context()
    assert context.plain_start(200)
    context.start_draining(1)
    assert context.plain_start(200) is None


async def test_the_plain_start_is_of_this_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000_000_000.2
    monkeypatch.setattr(time, "time", lambda: now)
    context = new_context()
    first = context.plain_start(200)
    assert context.plain_start(200) is first
    now += 1
    assert b"01:46:41" in (context.plain_start(200) or b"")


@pytest.mark.parametrize("status", [101, 99, {}])
async def test_only_final_responses_have_a_plain_one(status: int) -> None:
    with pytest.raises(LocalProtocolError, match="expected a number, 200 to 599"):
        new_context().plain_start(status)


@pytest.mark.parametrize("count", [1, 3, 1000])
async def test_each_farewell_has_its_share_of_the_window(count: int) -> None:
    context = new_context()
    context.start_draining(0, 10)
    for place in range(count):
        delay_s = context.delay_farewell(place, count)
        assert 10 * place / count <= delay_s <= 10 * (place + 1) / count
    context.close()
