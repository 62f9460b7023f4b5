"""Many requests in one read: each costs itself, and all are answered in order."""

import asyncio

import pytest

from blazeio.protocol.flow import WINDOW_BYTES
from tests.protocol.serving import Connect, R, Wire, chunks, post, request
from tests.support.clock import wait_until

COUNT = 3000


async def all_answered(wire: Wire) -> None:
    await wait_until(lambda: not (wire.context.in_flight or wire.peer.undelivered), 20)


async def show(r: R) -> None:
    r.reply(r.path.encode() + b" " + (await r.read())[:20])


@pytest.mark.parametrize("piece_bytes", [200_000, 70_000, 40_000, 4097])
async def test_all_are_answered_in_order_however_they_come(
    connect: Connect, piece_bytes: int
) -> None:
    expected, octets = [], b""
    for number in range(COUNT):
        path = f"/{number}"
        kind = number % 50
        if kind == 7:
            octets += post(b"x" * 3000, path=path)
        elif kind == 8:
            octets += request("POST", path, "Transfer-Encoding: chunked")
            octets += chunks(b"abc", b"d" * 700)
        elif kind == 9:
            octets += request("GET", path, "X: " + "y" * (3 * WINDOW_BYTES // 2))
        else:
            octets += request("GET", path)
        body = {7: "x" * 20, 8: "abc" + "d" * 17}.get(kind, "")
        expected.append(f"{path} {body}".encode())
    wire = connect(show)
    for start in range(0, len(octets), piece_bytes):
        wire.peer.feed(octets[start : start + piece_bytes])
        for _ in range(200):
            await asyncio.sleep(0)
    await all_answered(wire)
    assert [each.body for each in wire.responses()] == expected


async def test_what_waits_is_copied_in_windows(connect: Connect) -> None:
    sizes: list[int] = []

    async def look(r: R) -> None:
        sizes.append(len(wire.connection._pending.window))
        r.reply(b"")

    wire = connect(look)
    wire.peer.feed(request("GET", "/") * 6000)  # 200 KiB
    await all_answered(wire)
    assert len(sizes) == 6000
    assert max(sizes) < 2 * WINDOW_BYTES


async def test_a_connection_that_leaves_http_has_all_that_waits(
    connect: Connect,
) -> None:
    received = b""

    async def leave(r: R) -> None:
        nonlocal received
        r.take_over(b"Connection: upgrade\r\nUpgrade: x\r\n")
        async for octets in r.request():
            received += octets

    wire = connect(leave)
    octets = bytes(range(256)) * 600
    wire.peer.feed(request("GET", "/", "Connection: upgrade", "Upgrade: x") + octets)
    await wait_until(lambda: len(received) == len(octets))
    assert received == octets
