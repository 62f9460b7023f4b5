import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.fleet.facts import StopAsked
from blazeio_supervisor.master import metrics
from blazeio_supervisor.master.metrics import (
    CONNECTION_COUNT,
    PEER_METRICS_COUNT,
    Exposition,
    Health,
    MetricsServer,
)
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from tests.supervisor.cli.master_harness import MasterHarness
from tests.support.clock import scaled, wait_until, within
from tests.support.peer import RawPeer
from tests.support.response import Response
from tests.support.served import serialize_request

Open = Callable[[MasterHarness], MetricsServer]


@pytest.fixture
async def open_server(tmp_path: Path) -> AsyncIterator[Open]:
    made: list[MetricsServer] = []

    def open_it(harness: MasterHarness) -> MetricsServer:
        server = MetricsServer(harness.service, Exposition(harness.service))
        made.append(server)
        path = str(tmp_path / "m.sock")
        server.open(UnixAddress(path), asyncio.get_running_loop())
        return server

    yield open_it
    for each in made:
        each.close()


async def get(tmp_path: Path, target: str) -> Response:
    async with await RawPeer.connect(str(tmp_path / "m.sock")) as peer:
        await peer.send(serialize_request("GET", target))
        return await peer.read_response()


async def test_metrics_are_text_for_prometheus(
    tmp_path: Path, open_server: Open
) -> None:
    open_server(MasterHarness(tmp_path))
    answer = await get(tmp_path, "/metrics")
    assert "text/plain; version=" in str(answer.field("content-type"))
    assert b"\nblazeio_requests_total{" in answer.body


async def test_a_service_that_leaves_lives_but_is_not_ready(
    tmp_path: Path, open_server: Open
) -> None:
    harness = MasterHarness(tmp_path)
    open_server(harness)
    assert (await get(tmp_path, "/readyz")).status == 200
    harness.driver.tell(StopAsked())
    answer = await get(tmp_path, "/readyz")
    health = msgspec.json.decode(answer.body, type=Health)
    assert (answer.status, health.ok, health.reason) == (503, False, "it drains")
    assert (await get(tmp_path, "/livez")).status == 200


async def test_the_path_goes_with_it(tmp_path: Path, open_server: Open) -> None:
    server = open_server(MasterHarness(tmp_path))
    server.close()
    assert not os.path.exists(tmp_path / "m.sock")


async def test_it_ends_where_its_path_cannot_be_removed_any_more(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    harness = MasterHarness(tmp_path)
    server = MetricsServer(harness.service, Exposition(harness.service))
    address = UnixAddress(str(folder / "m.sock"))
    server.open(address, asyncio.get_running_loop())
    (folder / "m.sock").unlink()
    folder.rmdir()
    folder.write_text("no folder any more")
    server.close()


async def test_a_path_that_somebody_has_removed_is_made_anew(
    tmp_path: Path,
    open_server: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(metrics, "LOOK_EVERY_S", 0.01)
    server = open_server(MasterHarness(tmp_path))
    path = tmp_path / "m.sock"
    for _ in range(2):
        path.unlink()
        await wait_until(path.exists)
        assert (await get(tmp_path, "/livez")).status == 200
    assert caplog.text.count("was removed: it is made anew") == 1  # in a minute
    server.close()
    assert not path.exists()


async def test_a_path_whose_folder_is_gone_is_made_when_that_is_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(metrics, "LOOK_EVERY_S", 0.01)
    folder = tmp_path / "run"
    folder.mkdir()
    harness = MasterHarness(tmp_path)
    server = MetricsServer(harness.service, Exposition(harness.service))
    address = UnixAddress(str(folder / "m.sock"))
    server.open(address, asyncio.get_running_loop())
    shutil.rmtree(folder)
    await wait_until(lambda: "nobody can ask for them: cannot bind" in caplog.text)
    folder.mkdir()
    await wait_until((folder / "m.sock").exists)
    server.close()


async def test_it_answers_on_tcp_and_says_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    harness = MasterHarness(tmp_path)
    server = MetricsServer(harness.service, Exposition(harness.service))
    server.open(TcpAddress("127.0.0.1", 0), asyncio.get_running_loop())
    port = int(caplog.messages[-1].rpartition(":")[2])
    async with await RawPeer.connect("127.0.0.1", port) as peer:
        await peer.send(serialize_request("GET", "/livez"))
        assert (await peer.read_response()).status == 200
    server.close()


async def test_an_address_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    server = MetricsServer(harness.service, Exposition(harness.service))
    for address in (UnixAddress("/nowhere/m.sock"), TcpAddress("no host", 1)):
        with pytest.raises(BindError, match="cannot bind"):
            server.open(address, asyncio.get_running_loop())
    server.close()


class LargeExposition(Exposition):
    """More text than the kernel's buffers of a connection hold."""

    def write(self) -> bytes:
        return b"# HELP many slots\n" * 400_000


@pytest.fixture
async def tcp_port(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """A probe that had to wait for the end of others would get no answer in time."""
    for name in ("REQUEST_TIMEOUT_S", "ANSWER_TIMEOUT_S"):
        monkeypatch.setattr(metrics, name, scaled(300))
    caplog.set_level("INFO")
    harness = MasterHarness(tmp_path)
    server = MetricsServer(harness.service, LargeExposition(harness.service))
    server.open(TcpAddress("127.0.0.1", 0), asyncio.get_running_loop())
    yield int(caplog.messages[-1].rpartition(":")[2])
    server.close()


async def probe(port: int, target: str = "/livez", host: str = "127.0.0.1") -> int:
    """Ask as a kubelet does: a connection for each probe."""
    async with await RawPeer.connect("127.0.0.1", port, local_host=host) as peer:
        await peer.send(serialize_request("GET", target))
        return (await within(peer.read_response(), 20)).status


@pytest.mark.parametrize("octets", [b"", b"GET /livez HTTP/1.1\r\nHost:"])
async def test_silent_connections_do_not_starve_a_probe(
    tcp_port: int, octets: bytes
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for number in range(4 * CONNECTION_COUNT):
            host = f"127.0.0.{1 + number % 16}"
            peer = await RawPeer.connect("127.0.0.1", tcp_port, local_host=host)
            await stack.enter_async_context(peer)
            if octets:
                await peer.send(octets)
        for host in ("127.0.0.1", "127.0.0.99"):
            for target in ("/livez", "/readyz", "/metrics"):
                assert await probe(tcp_port, target, host) == 200


@pytest.mark.slow
async def test_slow_readers_of_the_metrics_do_not_starve_a_probe(
    tcp_port: int,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for number in range(2 * CONNECTION_COUNT):
            host = f"127.0.0.{1 + number % 16}"
            peer = await RawPeer.connect(
                "127.0.0.1", tcp_port, local_host=host, receive_buffer_bytes=2048
            )
            await stack.enter_async_context(peer)
            await peer.send(serialize_request("GET", "/metrics"))
        for host in ("127.0.0.1", "127.0.0.99"):
            for target in ("/livez", "/readyz"):
                assert await probe(tcp_port, target, host) == 200


@pytest.mark.slow
async def test_one_address_is_answered_a_few_times_at_once(tcp_port: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(PEER_METRICS_COUNT):
            peer = await RawPeer.connect(
                "127.0.0.1", tcp_port, receive_buffer_bytes=2048
            )
            await stack.enter_async_context(peer)
            await peer.send(serialize_request("GET", "/metrics"))
            await peer.read_some()
        assert await probe(tcp_port, "/metrics") == 503
        assert await probe(tcp_port, "/livez") == 200
        assert await probe(tcp_port, "/metrics", "127.0.0.2") == 200


@pytest.mark.parametrize(
    ("umask", "mode"), [(None, 0o666), (0o007, 0o660), (0o077, 0o600)]
)
async def test_the_socket_is_for_everybody_without_what_the_umask_takes_away(
    tmp_path: Path, umask: int | None, mode: int
) -> None:
    harness = MasterHarness(
        tmp_path, words=() if umask is None else (f"--umask={umask:o}",)
    )
    path = tmp_path / "m.sock"
    server = MetricsServer(harness.service, Exposition(harness.service))
    server.open(UnixAddress(str(path)), asyncio.get_running_loop())
    found = stat.S_IMODE(path.stat().st_mode)
    server.close()
    assert oct(found) == oct(mode)
