import asyncio
import socket

import pytest

from blazeio_supervisor.fleet.facts import Fact, HealthChecked
from blazeio_supervisor.master.executor import (
    ANSWER_BYTES,
    HealthChecks,
    ask,
    judge,
)
from tests.support.clock import wait_until, within

OK = b"HTTP/1.1 200 OK\r\n\r\nfine"


def make_pair() -> tuple[socket.socket, socket.socket]:
    own, theirs = socket.socketpair()
    own.setblocking(False)
    theirs.setblocking(False)
    return own, theirs


async def hear(sock: socket.socket) -> bytes:
    octets = b""
    while b"\r\n\r\n" not in octets:
        octets += await asyncio.get_running_loop().sock_recv(sock, 4096)
    return octets


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_2xx_is_healthy(status: int) -> None:
    assert judge("/up", b"HTTP/1.1 %d Fine\r\n\r\n" % status) == (True, "")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (
            b"HTTP/1.1 500 Oh\r\nA: b\r\n\r\n\r\nno database\r\nat line 1",
            "GET /up answered 500: no database",
        ),
        (b"HTTP/1.1 503 Oh\r\n\r\n", "GET /up answered 503"),
        (
            b"HTTP/1.1 301 Moved\r\nlocation: https://a/up\r\nB: c\r\n\r\n",
            "GET /up answered 301: to https://a/up; only 2xx is healthy",
        ),
        (b"HTTP/1.1 500 Oh\r\n\r\na\x1b[2Jb", "GET /up answered 500: a?[2Jb"),
        (b"HTTP/1.1 199 Oh\r\n\r\n", "GET /up answered 199"),
        (b"", "GET /up: the connection ended with no answer"),
        (b"SSH-2.0", "GET /up: the connection ended with an answer that is not HTTP"),
    ],
)
def test_all_else_is_unhealthy_and_says_why(octets: bytes, reason: str) -> None:
    assert judge("/up", octets) == (False, reason)


def test_the_reason_is_bounded() -> None:
    _, reason = judge("/up", b"HTTP/1.1 500 Oh\r\n\r\n" + b"x" * 9999)
    assert reason == "GET /up answered 500: " + "x" * 200


async def test_it_asks_with_a_host_and_closes_when_it_is_answered() -> None:
    own, theirs = make_pair()
    with theirs:
        asking = asyncio.create_task(ask(own, "/up?a"))
        request = await within(hear(theirs))
        assert request.startswith(b"GET /up?a HTTP/1.0\r\nHost: localhost\r\n")
        theirs.sendall(OK[:20])
        theirs.sendall(OK[20:])
        theirs.shutdown(socket.SHUT_WR)
        assert await within(asking) == (True, "")
        assert await within(asyncio.get_running_loop().sock_recv(theirs, 1)) == b""


async def test_a_worker_that_dies_gives_no_answer() -> None:
    own, theirs = make_pair()
    theirs.close()
    is_healthy, reason = await within(ask(own, "/up"))
    assert not is_healthy
    assert reason.startswith("GET /up: ")


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    own, theirs = make_pair()
    with theirs:
        asking = asyncio.create_task(ask(own, "/up"))
        octets = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * ANSWER_BYTES
        await within(asyncio.get_running_loop().sock_sendall(theirs, octets))
        assert await within(asking) == (True, "")


async def test_the_answer_becomes_a_fact() -> None:
    own, theirs = make_pair()
    facts: list[Fact] = []
    checks = HealthChecks("/up", {7: own}.get, facts.append)
    checks.begin(8)  # is gone
    checks.begin(7)
    with theirs:
        await within(hear(theirs))
        theirs.sendall(OK)
    await wait_until(lambda: facts == [HealthChecked(7, True, "")])
