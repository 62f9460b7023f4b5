import asyncio
import contextlib
import os
import shutil
import socket
import stat
import sys
from http import HTTPStatus
from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.config.environment import StartEnvironment
from blazeio_supervisor.config.settings import LiveSettings, Sources
from blazeio_supervisor.ipc.control_api import (
    ServiceAnswer,
)
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
)
from blazeio_supervisor.master import control_server
from blazeio_supervisor.master.control_server import (
    CONNECTION_COUNT,
    USER_CONNECTION_COUNT,
    ControlServer,
)
from blazeio_supervisor.master.guarded_server import LASTING_COUNT
from blazeio_supervisor.master.status import ControlState
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.bind import open_unix
from tests.supervisor.cli.control_harness import ControlServerHarness
from tests.supervisor.cli.master_harness import MasterHarness
from tests.support.clock import wait_until, within
from tests.support.peer import RawPeer
from tests.support.served import serialize_request

ASK = """
import os, socket, sys
if os.geteuid() == 0:
    os.setresuid(4242, 4242, 4242)
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(chr(0) + sys.argv[1])
    try:
        sock.sendall(
            b"POST /stop HTTP/1.1\\r\\nHost: a\\r\\n"
            b"Content-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
        )
    except BrokenPipeError:
        pass  # it is answered before it has asked
    while octets := sock.recv(4096):
        sys.stdout.buffer.write(octets)
"""


async def test_the_file_is_for_its_user_alone_and_goes_at_the_end(
    tmp_path: Path,
) -> None:
    control = ControlServerHarness(tmp_path)
    assert stat.S_IMODE(os.stat(control.place.text).st_mode) == 0o600
    control.server.close()
    assert not os.path.exists(control.place.text)


async def test_the_file_of_a_later_service_is_left_alone(tmp_path: Path) -> None:
    control = ControlServerHarness(tmp_path)
    os.unlink(control.place.text)
    with socket.socket(socket.AF_UNIX) as later:
        later.bind(control.place.text)
        control.server.close()
        assert os.path.exists(control.place.text)


def open_and_remove(address: UnixAddress, mode: int) -> socket.socket:
    """Somebody removes the path before the service has looked at it."""
    sock = open_unix(address, mode)
    os.unlink(address.path)
    return sock


async def ask_at_last(control: ControlServerHarness) -> None:
    await wait_until(lambda: os.path.exists(control.place.text))
    assert (await control.ask("GET", "/service")).status == HTTPStatus.OK


async def test_a_file_that_somebody_has_removed_is_made_anew(
    control: ControlServerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(2):  # before the first connection, and after it
        os.unlink(control.place.text)
        await ask_at_last(control)
    assert stat.S_IMODE(os.stat(control.place.text).st_mode) == 0o600
    assert caplog.text.count("was removed: it is made anew") == 1  # in a minute
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1
    control.server.close()
    assert not os.path.exists(control.place.text)


async def test_a_file_that_is_removed_as_soon_as_it_is_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as soon:
        soon.setattr(control_server, "open_unix", open_and_remove)
        control = ControlServerHarness(tmp_path)
    await ask_at_last(control)
    control.server.close()
    assert not os.path.exists(control.place.text)


async def test_whoever_has_connected_by_the_file_that_was_removed_is_answered(
    control: ControlServerHarness,
) -> None:
    async with await control.connect() as peer:
        await peer.send(serialize_request("GET", "/service", None))
        assert (await peer.read_response()).status == HTTPStatus.OK
        os.unlink(control.place.text)
        await ask_at_last(control)
        await peer.send(serialize_request("GET", "/service", None))
        assert (await peer.read_response()).status == HTTPStatus.OK


async def test_a_folder_that_is_removed_is_one_line_until_it_is_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(control_server, "LOOK_EVERY_S", 0.01)
    folder = tmp_path / "run"
    folder.mkdir()
    control = ControlServerHarness(tmp_path, control="run/c.sock")
    shutil.rmtree(folder)
    await wait_until(lambda: "event=no_control" in caplog.text)
    await asyncio.sleep(0.05)
    folder.mkdir()
    await ask_at_last(control)
    assert caplog.text.count("event=no_control") == 1
    control.server.close()


async def test_what_a_killed_service_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "c.sock"))
        killed.listen()
    control = ControlServerHarness(tmp_path)
    assert (await control.ask("GET", "/service")).status == HTTPStatus.OK
    control.server.close()


async def test_a_living_service_keeps_its_place_and_it_is_one_line(
    control: ControlServerHarness, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    second = ControlServerHarness(tmp_path)
    assert second.server.place is None
    second.server.close()
    (record,) = caplog.records
    assert record.levelname == "WARNING"  # somebody counts on it
    assert f"is in use by pid {os.getpid()}" in record.getMessage()
    assert (await control.ask("GET", "/service")).status == HTTPStatus.OK


async def test_a_folder_that_is_not_there_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    ControlServerHarness(tmp_path, control="no/such/c.sock").server.close()
    (record,) = caplog.records
    assert "event=no_control" in record.getMessage()


async def test_where_the_first_place_is_taken_the_second_serves_and_it_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    harness = MasterHarness(tmp_path)
    around = StartEnvironment(folder=str(tmp_path), runtime_directory="/proc")
    words = {"app": "app:web", "name": f"app-{os.getpid()}"}
    live_settings = LiveSettings.read(Sources(words, {}, around))
    service = msgspec.structs.replace(harness.service, live_settings=live_settings)
    server = ControlServer(service)
    server.open(asyncio.get_running_loop())
    server.close()
    (record,) = caplog.records
    name = f"@blazeio/{os.geteuid()}/app-{os.getpid()}"
    assert (
        f"event=control verbs reach this service at {name} (cannot bind"
        in record.getMessage()
    )


async def test_it_ends_where_its_path_cannot_be_removed_any_more(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    control = ControlServerHarness(tmp_path, control=str(folder / "c.sock"))
    (folder / "c.sock").unlink()
    folder.rmdir()
    folder.write_text("no folder any more")
    control.server.close()


async def test_it_answers_in_the_abstract_namespace_too(tmp_path: Path) -> None:
    control = ControlServerHarness(
        tmp_path, control=f"@blazeio-test/{os.getpid()}/{tmp_path.name}"
    )
    answer = await control.ask("GET", "/service")
    control.server.close()
    assert msgspec.json.decode(answer.body, type=ServiceAnswer).pid == os.getpid()


async def test_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = ControlServerHarness(
        tmp_path, control=f"@blazeio-test/{os.getpid()}/{tmp_path.name}"
    )
    is_root = os.geteuid() == 0
    if not is_root:  # then the service is another's
        monkeypatch.setattr(control.server, "_uid", os.geteuid() + 1)
    asking = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", ASK, control.place.text[1:]),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await within(asking.communicate(), 10)
    control.server.close()
    assert said.startswith(b"HTTP/1.1 403 ")
    assert b"it answers only to uid" in said
    assert control.stops == []


async def test_status_is_answered(control: ControlServerHarness) -> None:
    answer = await control.ask("GET", "/status")
    status = msgspec.json.decode(answer.body, type=StatusAnswer)
    assert [worker.slot for worker in status.workers] == [0, 1]


async def test_a_verb_of_another_version_is_unknown(
    control: ControlServerHarness,
) -> None:
    assert (await control.ask("POST", "/dance")).status == HTTPStatus.NOT_FOUND


def connect_many(
    control: ControlServerHarness, count: int, octets: bytes = b""
) -> list[socket.socket]:
    """Connections of this user that send so much, and nothing more."""
    made = []
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(control.place.address)
        sock.sendall(octets)
        made.append(sock)
    return made


@pytest.mark.parametrize("octets", [b"", b"GET /status HTT"], ids=["none", "half"])
async def test_silent_connections_give_way_to_one_that_asks(
    control: ControlServerHarness, octets: bytes
) -> None:
    assert (await control.ask("GET", "/service")).status == HTTPStatus.OK
    server = control.server._server
    assert server is not None
    with contextlib.ExitStack() as stack:
        for sock in connect_many(control, 2 * CONNECTION_COUNT, octets):
            stack.enter_context(sock)
        await wait_until(lambda: server.connection_count == USER_CONNECTION_COUNT)
        assert (await control.ask("GET", "/service")).status == HTTPStatus.OK
        assert server.connection_count <= USER_CONNECTION_COUNT


async def test_who_follows_cannot_keep_other_verbs_out(
    control: ControlServerHarness,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(LASTING_COUNT):
            peer = await stack.enter_async_context(await control.connect())
            await peer.send(serialize_request("GET", "/events?follow=true"))
            await peer.read_some()
        refusal = await control.refusal("GET", "/events?follow=true")
        assert refusal.startswith(f"503 {LASTING_COUNT} are following")
        assert (await control.ask("GET", "/status")).status == HTTPStatus.OK
    # Their places are free again when they have left.
    async with await control.connect() as peer:
        server = control.server._server
        assert server is not None
        await wait_until(lambda: server.connection_count == 1)
        await peer.send(serialize_request("GET", "/events?follow=true"))
        assert (await peer.read_some()).startswith(b"HTTP/1.1 200")


SQUEEZE = """
import os, socket, sys
if os.geteuid() == 0:
    os.setresuid(4242, 4242, 4242)
held = []
for _ in range(200):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(chr(0) + sys.argv[1])
    held.append(sock)
print("connected", flush=True)
for sock in held:
    while sock.recv(4096):
        pass
print("all refused", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
async def test_strangers_take_no_place_and_are_noted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "blazeio")
    control = ControlServerHarness(
        tmp_path, control=f"@blazeio-test/{os.getpid()}/{tmp_path.name}"
    )
    if os.geteuid() != 0:  # then the service is another's
        monkeypatch.setattr(control.server, "_uid", os.geteuid() + 1)
    stranger = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", SQUEEZE, control.place.text[1:]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert stranger.stdout is not None
    assert await within(stranger.stdout.readline(), 20) == b"connected\n"
    assert await within(stranger.stdout.readline(), 20) == b"all refused\n"
    server = control.server._server
    assert server is not None
    assert server.connection_count == 0
    if os.geteuid() == 0:
        assert (await control.ask("GET", "/service")).status == HTTPStatus.OK
    control.server.close()
    await within(stranger.communicate(b""), 10)
    noted = [each for each in caplog.messages if "event=stranger_refused" in each]
    assert len(noted) == 1


async def test_an_order_that_trickles_is_given_up(
    control: ControlServerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "blazeio_supervisor.master.control_handlers.ORDER_TIMEOUT_S", 0.05
    )
    async with await control.connect() as peer:
        await peer.send(
            b"POST /scale HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
        )
        answer = await peer.read_response()
    assert answer.status == HTTPStatus.REQUEST_TIMEOUT
    assert b"was not whole within" in answer.body


async def test_what_answers_is_prepared_with_the_first_connection(
    tmp_path: Path,
) -> None:
    control = ControlServerHarness(tmp_path)
    control.server.close()
    prepared: list[int] = []

    async def prepare() -> None:
        prepared.append(1)

    state = ControlState(control.server.place)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "d.sock"))
    sock.listen()
    sock.setblocking(False)
    state.sock = sock
    server = ControlServer(control.service, state, prepare=prepare)
    server.resume(asyncio.get_running_loop())
    await asyncio.sleep(0)
    assert not prepared
    for _ in range(2):
        async with await RawPeer.connect(str(tmp_path / "d.sock")) as peer:
            await peer.send(serialize_request("GET", "/upgrade", None))
            assert (await peer.read_response()).status == HTTPStatus.OK
    assert prepared == [1]
    server.close()


async def test_what_cannot_be_imported_then_is_a_line_in_the_log(
    control: ControlServerHarness,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(control_server, "_HANDLERS", "no.such.module")
    async with await control.connect():
        await wait_until(lambda: "event=no_control" in caplog.text)
    assert "no verb reaches this service: ModuleNotFoundError" in caplog.text
