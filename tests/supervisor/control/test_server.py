import asyncio
import contextlib
import dataclasses
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.control.answers import (
    ErrorAnswer,
    Progress,
    RecycleAnswer,
    ReloadAnswer,
    ScaleAnswer,
    ServiceAnswer,
    StatusAnswer,
    StopAnswer,
)
from blazeio_supervisor.control.server import CONNECTION_COUNT, ControlServer
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import (
    RecycleAsked,
    ReloadAsked,
    ScaleAsked,
    StopAsked,
    WorkerExited,
)
from tests.supervisor.control.desk import Desk
from tests.support.clock import wait_until, within
from tests.support.peer import RawPeer
from tests.support.response import Response
from tests.support.served import serialize_request

ASK = """
import os, socket, sys
if os.geteuid() == 0:
    os.setresuid(4242, 4242, 4242)
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(chr(0) + sys.argv[1])
    sock.sendall(
        b"POST /stop HTTP/1.1\\r\\nHost: a\\r\\n"
        b"Content-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
    )
    while octets := sock.recv(4096):
        sys.stdout.buffer.write(octets)
"""


class Room(Desk):
    """A desk that answers on its place."""

    def __init__(self, folder: Path, slots: int = 2, control: str = "c.sock") -> None:
        super().__init__(folder, slots, control)
        self.server = ControlServer(self.service)
        self.server.open(asyncio.get_running_loop())

    async def connect(self) -> RawPeer:
        return await RawPeer.connect(self.place.address)

    async def ask(self, method: str, path: str, order: object = None) -> Response:
        content = None if order is None else msgspec.json.encode(order)
        async with await self.connect() as peer:
            await peer.send(serialize_request(method, path, content))
            return await peer.read_response(method=method)

    async def refusal(self, method: str, path: str, order: object = None) -> str:
        answer = await self.ask(method, path, order)
        error = msgspec.json.decode(answer.body, type=ErrorAnswer).error
        return f"{answer.status} {error}"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    yield made
    made.server.close()


async def test_the_file_is_for_its_user_alone_and_goes_at_the_end(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path)
    assert stat.S_IMODE(os.stat(room.place.text).st_mode) == 0o600
    room.server.close()
    assert not os.path.exists(room.place.text)


async def test_the_file_of_a_later_service_is_left_alone(tmp_path: Path) -> None:
    room = Room(tmp_path)
    os.unlink(room.place.text)
    with socket.socket(socket.AF_UNIX) as later:
        later.bind(room.place.text)
        room.server.close()
        assert os.path.exists(room.place.text)


async def test_what_a_killed_service_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "c.sock"))
        killed.listen()
    room = Room(tmp_path)
    assert (await room.ask("GET", "/service")).status == HTTPStatus.OK
    room.server.close()


async def test_a_living_service_keeps_its_place_and_it_is_one_line(
    room: Room, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    second = Room(tmp_path)
    assert second.server.place is None
    second.server.close()
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert f"is in use by pid {os.getpid()}" in record.getMessage()
    assert (await room.ask("GET", "/service")).status == HTTPStatus.OK


async def test_a_folder_that_is_not_there_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    Room(tmp_path, control="no/such/c.sock").server.close()
    (record,) = caplog.records
    assert "event=no_control" in record.getMessage()


async def test_where_the_first_place_is_taken_the_second_serves_and_it_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    desk = Desk(tmp_path)
    changed = dataclasses.replace(
        desk.service.settings,
        name=f"app-{os.getpid()}",
        control=None,
        runtime_directory="/proc",
    )
    server = ControlServer(dataclasses.replace(desk.service, settings=changed))
    server.open(asyncio.get_running_loop())
    server.close()
    (record,) = caplog.records
    name = f"@blazeio/{os.geteuid()}/app-{os.getpid()}"
    assert f"event=control verbs: {name}; cannot bind" in record.getMessage()


async def test_it_answers_in_the_abstract_namespace_too(tmp_path: Path) -> None:
    room = Room(tmp_path, control=f"@blazeio-test/{os.getpid()}/{tmp_path.name}")
    answer = await room.ask("GET", "/service")
    room.server.close()
    assert msgspec.json.decode(answer.body, type=ServiceAnswer).pid == os.getpid()


async def test_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path, control=f"@blazeio-test/{os.getpid()}/{tmp_path.name}")
    is_root = os.geteuid() == 0
    if not is_root:  # then the service is another's
        monkeypatch.setattr(room.server, "_uid", os.geteuid() + 1)
    asking = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", ASK, room.place.text[1:]),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await within(asking.communicate(), 10)
    room.server.close()
    assert said.startswith(b"HTTP/1.1 403 ")
    assert b"it answers only to uid" in said
    assert room.stops == 0


async def test_status_is_answered(room: Room) -> None:
    answer = await room.ask("GET", "/status")
    status = msgspec.json.decode(answer.body, type=StatusAnswer)
    assert [worker.slot for worker in status.workers] == [0, 1]


async def test_a_reload_nobody_waits_for_is_answered_at_once(room: Room) -> None:
    answer = await room.ask("POST", "/reload")
    assert not msgspec.json.decode(answer.body, type=ReloadAnswer).is_over
    assert room.facts == [ReloadAsked(1)]


async def test_who_waits_for_a_reload_sees_its_steps_and_its_end(room: Room) -> None:
    asking = asyncio.create_task(room.ask("POST", "/reload", {"wait": True}))
    await wait_until(lambda: room.facts)
    room.driver.tell(*room.facts)
    await asyncio.sleep(0.15)
    room.frames.print("Traceback ...\n", 2)
    room.reloads.end(ReloadEnded(1, 2, False, "no database"))
    step, ended = (await asking).body.splitlines()
    assert msgspec.json.decode(step, type=Progress).step == "importing"
    answer = msgspec.json.decode(ended, type=ReloadAnswer)
    assert (answer.is_over, answer.is_ok, answer.reason, answer.output) == (
        True,
        False,
        "no database",
        "Traceback ...\n",
    )


async def test_who_leaves_while_waiting_changes_nothing(room: Room) -> None:
    async with await room.connect() as peer:
        order = msgspec.json.encode({"wait": True})
        await peer.send(serialize_request("POST", "/reload", order))
        await wait_until(lambda: room.facts)
    room.reloads.end(ReloadEnded(1, 2, True))
    assert (await room.ask("GET", "/service")).status == HTTPStatus.OK


async def test_scale_says_what_was_wanted_before(room: Room) -> None:
    answer = await room.ask("POST", "/scale", {"count": 5})
    assert msgspec.json.decode(answer.body, type=ScaleAnswer) == ScaleAnswer(2, 5)
    assert room.facts == [ScaleAsked(count=5)]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"count": 0}, "400 0 workers: expected 1 to 256"),
        ({"count": 257}, "400 257 workers: expected 1 to 256"),
        ({"count": "many"}, "400 the order cannot be read: Expected `int`"),
        ({}, "400 the order cannot be read: Object missing required field"),
    ],
)
async def test_a_count_that_cannot_be_is_refused(
    room: Room, order: object, reason: str
) -> None:
    assert (await room.refusal("POST", "/scale", order)).startswith(reason)
    assert room.facts == []


async def test_recycle_says_whose_place_is_taken(room: Room) -> None:
    answer = await room.ask("POST", "/recycle", {"slot": 1})
    recycled = msgspec.json.decode(answer.body, type=RecycleAnswer)
    assert recycled == RecycleAnswer(1, 1002)
    assert room.facts == [RecycleAsked(1)]


async def test_a_slot_that_waits_for_its_next_try_gets_it_at_once(room: Room) -> None:
    for _ in range(3):
        owner = room.driver.slot(1).owner
        if owner is not None:
            room.driver.tell(WorkerExited(owner.worker, 1))
    answer = await room.ask("POST", "/recycle", {"slot": 1})
    assert msgspec.json.decode(answer.body, type=RecycleAnswer).pid is None


@pytest.mark.parametrize("slot", [-1, 2])
async def test_a_slot_that_is_none_is_refused(room: Room, slot: int) -> None:
    reason = await room.refusal("POST", "/recycle", {"slot": slot})
    assert reason == f"400 slot {slot}: expected 0 to 1"


async def test_a_slot_whose_worker_just_starts_is_not_recycled(room: Room) -> None:
    room.driver.tell(ScaleAsked(3))
    reason = await room.refusal("POST", "/recycle", {"slot": 2})
    assert reason == "409 slot 2 is just getting a new worker"


async def test_stop_is_answered_before_it_begins(room: Room) -> None:
    answer = await room.ask("POST", "/stop")
    assert msgspec.json.decode(answer.body, type=StopAnswer).pid == os.getpid()
    assert room.stops == 1


@pytest.mark.parametrize(
    ("path", "order"),
    [("/reload", {}), ("/scale", {"count": 1}), ("/recycle", {"slot": 0})],
)
async def test_a_service_that_stops_takes_no_order(
    room: Room, path: str, order: object
) -> None:
    room.driver.tell(StopAsked())
    assert await room.refusal("POST", path, order) == "409 the service is stopping"


async def test_a_verb_of_another_version_is_unknown(room: Room) -> None:
    assert (await room.ask("POST", "/dance")).status == HTTPStatus.NOT_FOUND


async def test_more_connections_than_it_may_have_are_left_waiting(
    room: Room,
) -> None:
    server = room.server._server
    assert server is not None
    async with contextlib.AsyncExitStack() as peers:
        for _ in range(CONNECTION_COUNT + 2):
            await peers.enter_async_context(await room.connect())
        # What is just being accepted may be counted twice for a moment.
        await wait_until(lambda: server.connection_count == CONNECTION_COUNT)
        assert server.is_full
