"""WebSockets stay open over reloads, recycling and scaling."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.process.service import Service, start_service
from tests.support.clock import scaled, within
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow
APP = """
import json, os
import blazeio as io

web = io.App("127.0.0.1", 0)

@web.add_route
async def pid(r, route="/"):
    await io.Deliver.text(r, str(os.getpid()))

@web.add_route
async def count(r, route="/ws"):
    async with io.WebSocket(r) as ws:
        seen = int(ws.state or 0)
        ws.handover(lambda: str(seen).encode())
        async for message in ws:
            assert int(message) == seen, (message, seen)
            seen += 1
            await ws.send(json.dumps([seen, os.getpid()]))
"""


async def say(ws: ClientConnection, number: int) -> int:
    """Send a number; the pid of who has counted it."""
    await ws.send(str(number))
    seen, pid = json.loads(await within(ws.recv(), scaled(20)))
    assert seen == number + 1
    return int(pid)


async def open_all(service: Service, count: int) -> list[ClientConnection]:
    url = f"ws://127.0.0.1:{service.server.port}/ws"
    return [await connect(url, proxy=None, ping_interval=None) for _ in range(count)]


async def order(service: Service, *words: str) -> None:
    place = str(service.folder / "c.sock")
    done = await asyncio.to_thread(
        run_to_exit,
        ["blazeio-supervisor", *words, "--control", place],
        timeout_s=60,
    )
    assert done.returncode == 0, done.stderr


async def check_reloads(service: Service, count: int, times: int) -> None:
    """Clients talk all the while; each must be served by ever newer workers."""
    sockets = await open_all(service, count)
    old = {await say(ws, 0) for ws in sockets}
    is_over = False

    async def talk(place: int) -> None:
        number, pid = 1, 0
        while not is_over or pid in old:  # it goes along between two messages
            pid = await say(sockets[place], number)
            number += 1
            await asyncio.sleep(count / 500)  # some 500 messages a second

    talks = [asyncio.ensure_future(talk(place)) for place in range(0, count, 2)]
    for _ in range(times):
        await order(service, "reload", "--wait")
    is_over = True
    await within(asyncio.gather(*talks), scaled(50))
    after = {await say(sockets[place], 1) for place in range(1, count, 2)}
    assert not after & old  # those that were silent went along, too
    assert after <= {*service.pids()}
    for ws in sockets:
        assert ws.close_code is None
        await ws.close()
        assert ws.close_code == 1000


@pytest.mark.long
async def test_no_client_notices_two_reloads(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(
        live_server, tmp_path, "--control", "c.sock", code=APP, workers=2
    )
    await check_reloads(service, 20, 2)
    service.server.wait_for_log("connections? went on in another worker")


@pytest.mark.long
async def test_a_thousand_sockets_over_a_reload(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(
        live_server, tmp_path, "--control", "c.sock", code=APP, workers=2
    )
    await check_reloads(service, 1000, 1)


async def test_a_worker_that_is_recycled_hands_on_too(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(
        live_server, tmp_path, "--control", "c.sock", code=APP, workers=2
    )
    (ws,) = await open_all(service, 1)
    old = await say(ws, 0)
    await order(service, "recycle", str(find_slot(service, old)))
    for number in range(1, 200):
        if await say(ws, number) != old:
            break
        await asyncio.sleep(scaled(0.05))
    else:
        pytest.fail("it stayed with its worker")
    await ws.close()


def find_slot(service: Service, pid: int) -> int:
    return next(slot for slot, (_, each) in service.workers().items() if each == pid)


async def test_at_the_end_of_the_service_the_client_is_told(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=APP, workers=2)
    (ws,) = await open_all(service, 1)
    await say(ws, 0)
    service.server.signal(signal.SIGTERM)
    with pytest.raises(ConnectionClosed):
        await within(ws.recv(), scaled(20))
    assert ws.close_code == 1012


@pytest.mark.long
async def test_where_the_next_worker_dies_at_once_the_client_sees_an_end(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(
        live_server, tmp_path, "--control", "c.sock", code=APP, workers=1
    )
    (ws,) = await open_all(service, 1)
    await say(ws, 0)
    await order(service, "reload", "--wait")
    os.kill(await say(ws, 1), signal.SIGKILL)
    with pytest.raises(ConnectionClosed):
        await within(ws.recv(), scaled(20))
    assert ws.close_code == 1006
