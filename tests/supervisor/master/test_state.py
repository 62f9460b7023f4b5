import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blazeio_supervisor.fleet.actions import Spawn
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.ipc.protocol import find_protocol
from blazeio_supervisor.master.components import (
    STATE_VERSION,
    StateError,
    dump_state,
    load_state,
)
from blazeio_supervisor.master.control_server import ControlServer
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.version import find_version
from tests.supervisor.copies import take
from tests.supervisor.master.upgrade_harness import NO_IMAGE, RUN, UpgradeHarness
from tests.support.peer import RawPeer
from tests.support.served import serialize_request

RECORDED = Path(__file__).with_name(f"state-{STATE_VERSION}.hex")
"""The first state of this version. What cannot be read any more needs a new one:
raise STATE_VERSION, and let ``python -m tests.supervisor.master.record`` write its
file.
"""
dump = partial(dump_state, RUN, NO_IMAGE)


@pytest.fixture
def stand_in() -> Iterator[socket.socket]:
    """For every descriptor of a state whose process is gone."""
    with socket.socket() as sock:
        yield sock


async def test_a_state_is_read_as_it_was_written(
    upgrade_harness: UpgradeHarness,
) -> None:
    octets, fds = dump(upgrade_harness.state)
    taken: list[socket.socket] = []

    def take_itself(fd: int) -> socket.socket:
        taken.append(socket.socket(fileno=fd))
        return taken[-1]

    state, read_fds = load_state(octets, take_itself)
    try:
        assert dump(state.master) == (octets, fds)
        assert set(read_fds) == set(fds)
    finally:
        for sock in taken:
            sock.detach()


async def test_it_lists_every_descriptor_once(upgrade_harness: UpgradeHarness) -> None:
    _, sockets = upgrade_harness.workers.prepare(Spawn(9, 0, 1))
    record, state = upgrade_harness.workers.records[9], upgrade_harness.state
    image = KeptImage(
        archive_fd=901, interpreter_fd=902, extensions={"a": 903}, home="", program=""
    )
    _, fds = dump_state(RUN, image, state)
    (group,) = state.listeners.groups
    named = [*group.sockets, *state.naming.sockets, *state.metrics.sockets]
    assert state.control.sock is not None
    named.append(state.control.sock)
    found = {sock.fileno() for sock in named} | {901, 902, 903}
    ends = record.row, record.channel, record.stacks
    assert sorted(fds) == sorted(found | {end.fileno() for end in ends})
    upgrade_harness.workers.note_fork_failed(9, "not even tried")
    for theirs in sockets[:3]:
        theirs.close()


async def test_another_image_goes_on_with_it(
    upgrade_harness: UpgradeHarness, tmp_path: Path
) -> None:
    upgrade_harness.state.adopted[1] = 7
    octets, _ = dump(upgrade_harness.state)
    state = load_state(octets, take)[0].master
    assert state.listeners.addresses == upgrade_harness.listeners.addresses
    assert state.adopted == {1: 7}
    planner = Planner(Policy(), 1, state=state.fleet)
    assert planner.plan([], state.fleet.clock.real) == []
    assert planner.snapshot() == upgrade_harness.driver.planner.snapshot()
    upgrade_harness.control.stop_answering()
    other = UpgradeHarness(tmp_path)
    control = ControlServer(other.service, state.control)
    control.resume(asyncio.get_running_loop())
    async with await RawPeer.connect(str(tmp_path / "c.sock")) as peer:
        await peer.send(serialize_request("GET", "/upgrade", None))
        assert (await peer.read_response()).status == 200
    control.close()
    state.naming.close()
    state.listeners.shut()
    for sock in state.metrics.sockets:
        sock.close()


@pytest.mark.parametrize("field", ["version", "protocol"])
async def test_of_another_version_only_the_head_is_read(field: str) -> None:
    own = find_protocol()
    head = {"version": STATE_VERSION, "protocol": own, "program": "3.0", field: 99}
    with pytest.raises(StateError) as caught:
        load_state(msgspec.msgpack.encode(head), take)
    text = str(caught.value)
    assert text.startswith(
        f"blazeio {find_version()} knows state {STATE_VERSION} and protocol "
        f"{own}, the running one (3.0) has state {head['version']} and protocol "
    )
    assert text.endswith(": restart the service to use it")


async def test_descriptors_that_are_not_open_are_one_line(
    upgrade_harness: UpgradeHarness,
) -> None:
    octets, _ = dump(upgrade_harness.state)

    def refuse(fd: int) -> socket.socket:
        raise OSError(9, "Bad file descriptor")

    with pytest.raises(StateError, match=r"cannot be read: .*Bad file descriptor"):
        load_state(octets, refuse)


def test_the_first_state_of_this_version_can_still_be_read(
    stand_in: socket.socket,
) -> None:
    octets = bytes.fromhex(RECORDED.read_text())
    recorded: dict[str, Any] = msgspec.msgpack.decode(octets)
    recorded["protocol"] = find_protocol()  # it is another matter
    state, _ = load_state(msgspec.msgpack.encode(recorded), lambda _: stand_in)
    assert state.version == STATE_VERSION
    assert len(state.master.fleet.roster.workers) == 2
