import asyncio
import os
import socket
from pathlib import Path

from blazeio_supervisor.master.upgrade.state import parse_state, serialize_state
from tests.supervisor.master.upgrade_bench import Bench
from tests.support.peer import RawPeer
from tests.support.served import serialize_request


def take(fd: int) -> socket.socket:
    sock = socket.socket(fileno=os.dup(fd))
    sock.setblocking(False)
    return sock


async def test_what_was_frozen_goes_on_in_other_parts(
    upgrade_bench: Bench, tmp_path: Path
) -> None:
    upgrade_bench.parts.adopted[1] = 7
    state = parse_state(serialize_state(upgrade_bench.freeze()))
    other = Bench(tmp_path)
    other.parts.thaw(state, take, asyncio.get_running_loop())
    assert other.listeners.addresses == upgrade_bench.listeners.addresses
    assert other.parts.adopted == {1: 7}
    planner = other.parts.planner
    assert planner.plan([], state.planner.clock.real) == []
    assert planner.snapshot() == upgrade_bench.parts.planner.snapshot()
    async with await RawPeer.connect(str(tmp_path / "c.sock")) as peer:
        await peer.send(serialize_request("GET", "/upgrade", None))
        assert (await peer.read_response()).status == 200
    other.close()
