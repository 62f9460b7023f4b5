from pathlib import Path
from typing import Any

import msgspec
import pytest

from blazeio_supervisor.fleet.actions import Spawn
from blazeio_supervisor.ipc.messages import PROTOCOL
from blazeio_supervisor.master.forkservers import FrozenForkserver
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.master.upgrade.state import (
    VERSION,
    StateError,
    parse_state,
    serialize_state,
)
from blazeio_supervisor.version import find_version
from tests.supervisor.master.upgrade_bench import Bench

RECORDED = Path(__file__).with_name(f"state-{VERSION}.hex")
"""The first state of this version. What cannot be read any more needs a new one:
raise VERSION, and let ``python -m tests.supervisor.master.record`` write its file.
"""


async def test_a_state_is_read_as_it_was_written(upgrade_bench: Bench) -> None:
    octets = serialize_state(upgrade_bench.freeze())
    assert serialize_state(parse_state(octets)) == octets


def find_fds(part: Any, name: str = "") -> set[int]:
    """Every number under a name that says that it is a descriptor."""
    if isinstance(part, dict):
        is_map_of_fds = name == "extensions"
        found = [find_fds(part[key], "fd" if is_map_of_fds else key) for key in part]
        return set().union(*found)
    if isinstance(part, list):
        return set().union(*(find_fds(each, name) for each in part))
    return {part} if str(name).endswith(("fd", "fds")) else set()


async def test_it_lists_every_descriptor_that_it_names(upgrade_bench: Bench) -> None:
    _, sockets = upgrade_bench.workers.prepare(Spawn(9, 0, 1))
    image = KeptImage(
        archive_fd=901, interpreter_fd=902, extensions={"a": 903}, home="", program=""
    )
    state = msgspec.structs.replace(
        upgrade_bench.freeze(image),
        forkservers=[FrozenForkserver(1, 7, 904, True, "", True, False, False, "")],
    )
    parts = msgspec.structs.asdict(state)
    del parts["in_force"]  # --fd is what a listener was made of
    assert set(state.list_fds()) == find_fds(msgspec.to_builtins(parts))
    upgrade_bench.workers.note_fork_failed(9, "not even tried")
    for theirs in sockets[:3]:
        theirs.close()


@pytest.mark.parametrize("field", ["version", "protocol"])
async def test_of_another_version_only_the_head_is_read(field: str) -> None:
    head = {"version": VERSION, "protocol": PROTOCOL, "program": "3.0", field: 99}
    with pytest.raises(StateError) as caught:
        parse_state(msgspec.msgpack.encode(head))
    text = str(caught.value)
    assert text.startswith(
        f"blazeio {find_version()} knows state {VERSION} and protocol {PROTOCOL}, "
        f"the running one (3.0) has state {head['version']} and protocol "
    )
    assert text.endswith(": restart the service to use it")


def test_the_first_state_of_this_version_can_still_be_read() -> None:
    octets = bytes.fromhex(RECORDED.read_text())
    recorded: dict[str, Any] = msgspec.msgpack.decode(octets)
    recorded["protocol"] = PROTOCOL  # has its own number
    state = parse_state(msgspec.msgpack.encode(recorded))
    assert state.version == VERSION
    assert len(state.planner.roster.workers) == 2
