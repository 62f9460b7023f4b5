"""A connection that is over is freed at once, and not by Python's collector."""

import gc
from collections.abc import Iterator

import pytest

from blazeio.protocol.http1 import Http1Connection
from tests.protocol.serving import GET, R, Serve, Served, echo, forever, post, request
from tests.support.clock import wait_until
from tests.support.peer import RawPeer

CLOSING = request("GET", "/", "Connection: close")


def find(served: Served) -> list[Http1Connection]:
    """The connections of a server, open or over, that somebody refers to."""
    return [
        each
        for each in gc.get_objects()
        if type(each) is Http1Connection and each._context is served.server.context
    ]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def end(served: Served, peer: RawPeer) -> None:
    peer.close()
    await wait_until(lambda: not served.server.connection_count)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "octets",
    [b"", GET, GET + GET, CLOSING, post(b"content"), b"no HTTP\r\n\r\n"],
    ids=["silent", "kept", "pipelined", "closing", "content", "refused"],
)
async def test_it_is_freed_as_it_ends(serve: Serve, octets: bytes) -> None:
    served = serve(echo)
    peer = await served.connect()
    await wait_until(lambda: bool(served.connections))
    await peer.send(octets)
    if octets:
        await peer.read_response()
    await end(served, peer)
    await wait_until(lambda: not find(served))


@pytest.mark.usefixtures("no_collector")
async def test_who_still_has_its_request_finds_it_lost(serve: Serve) -> None:
    held: list[R] = []

    async def hold(r: R) -> None:
        held.append(r)
        r.reply(b"held")

    served = serve(hold)
    peer = await served.connect()
    await peer.send(GET)
    await peer.read_response()
    await end(served, peer)
    (r,) = held
    assert (r.path, r.status, r.is_alive, r.http_version) == ("/", 200, False, "1.1")
    assert not r.handler_task.is_running
    held.clear()
    del r
    await wait_until(lambda: not find(served))


async def test_of_http_1_0_the_version_is_still_told(serve: Serve) -> None:
    held: list[R] = []

    async def hold(r: R) -> None:
        held.append(r)
        r.reply(b"held")

    served = serve(hold)
    peer = await served.connect()
    await peer.send(request("GET", version="1.0"))
    await peer.read_until_end()
    await end(served, peer)
    assert held[0].http_version == "1.0"


async def test_a_handler_that_runs_keeps_its_request(serve: Serve) -> None:
    served = serve(forever)
    peer = await served.connect()
    await peer.send(GET)
    await wait_until(lambda: served.server.in_flight == 1)
    (connection,) = served.connections
    assert connection.request.handler_task.is_running
    await end(served, peer)
    await wait_until(lambda: not served.server.in_flight)
    assert connection.request.handler_task.request is connection.request
