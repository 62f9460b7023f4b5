import asyncio
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from blazeio_supervisor.cli.doctor import (
    examine_certificates,
    examine_group,
    examine_served_certificate,
    examine_settings,
    examine_workers,
    list_endpoints,
)
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
    SettingAnswer,
)
from blazeio_supervisor.sockets.address import TcpEndpoint
from tests.supervisor.cli.test_status_table import (
    make_slot,
    make_status,
    make_worker,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def make_config(*needs_restart: str) -> ConfigAnswer:
    settings = [SettingAnswer(key="backlog", value=2048, origin="default")]
    return ConfigAnswer(settings=settings, needs_restart=list(needs_restart), text="")


def test_a_slot_that_fails_is_told_before_one_that_is_late() -> None:
    late = make_worker(1, is_late=True, silent_s=3.0)
    slots = [make_slot(0, failures=2, is_failing=True), make_slot(1)]
    assert examine_workers(make_status(slots, [late])).seen.startswith(
        "slot 0 fails, 2"
    )
    finding = examine_workers(make_status([make_slot(1)], [late]))
    assert finding.seen == "slot 1 is blocked for 3.0 s"
    assert "`stack 1`" in finding.remedy


def test_what_waits_for_a_restart_is_told() -> None:
    assert examine_settings(make_config()).verdict == "ok"
    assert "workers" in examine_settings(make_config("workers")).seen


def open_group(count: int) -> list[socket.socket]:
    """Sockets that listen at one address."""
    sockets: list[socket.socket] = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(sockets[0].getsockname() if sockets else ("127.0.0.1", 0))
        sock.listen()
        sockets.append(sock)
    return sockets


@pytest.mark.parametrize(("count", "verdict"), [(2, "ok"), (3, "warn")])
def test_more_sockets_than_slots_are_somebody_elses(count: int, verdict: str) -> None:
    sockets = open_group(count)
    port = sockets[0].getsockname()[1]
    status = make_status(
        [make_slot(0), make_slot(1)], [], addresses=[f"http://127.0.0.1:{port}"]
    )
    finding = examine_group(status)
    for sock in sockets:
        sock.close()
    assert finding.verdict == verdict
    assert (f"pid {os.getpid()} " in finding.seen) is (verdict == "warn")


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [
        (60, "ok", "in 60 days"),
        (5, "warn", "Soon clients refuse it"),
        (-1, "warn", "Clients refuse it"),
    ],
)
def test_a_certificate_is_renewed_in_time(
    tmp_path: Path, days: int, verdict: str, words: str
) -> None:
    end = NOW + timedelta(days=days)
    begin = NOW - timedelta(days=90)
    issued = trustme.CA().issue_cert("a", not_before=begin, not_after=end)
    path = tmp_path / "a.pem"
    path.write_bytes(issued.cert_chain_pems[0].bytes())
    (finding,) = examine_certificates({"certfile": str(path)}, NOW, "")
    assert finding.verdict == verdict
    assert words in f"{finding.seen} {finding.meaning}"


def test_each_certificate_is_looked_at_as_far_as_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "b.pem").write_text("nothing")
    settings = {
        "certfile": str(tmp_path / "gone.pem"),
        "other_certificate": [f"{tmp_path}/b.pem,{tmp_path}/b.key"],
    }
    gone, broken = examine_certificates(settings, NOW, "/")
    assert gone.verdict == "unknown"
    assert broken.seen.endswith("b.pem: no certificate in it")


async def test_the_certificate_that_is_served_is_looked_at(tmp_path: Path) -> None:
    end = NOW + timedelta(days=5)
    issued = trustme.CA().issue_cert("a", not_after=end)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)

    async def end_at_once(_: object, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(
        end_at_once, "127.0.0.1", 0, ssl=context
    ) as server:
        port = server.sockets[0].getsockname()[1]
        addresses = [f"https://127.0.0.1:{port}", "http://127.0.0.1:1", "unix:/a"]
        (endpoint,) = list_endpoints(
            make_status([], [], addresses=addresses), ("https",)
        )
        finding = await asyncio.to_thread(examine_served_certificate, endpoint, NOW)
    assert finding.verdict == "warn"
    assert finding.seen.startswith(f"https://127.0.0.1:{port} ends on 2030-01-06")


def test_a_certificate_that_nobody_serves_is_not_visible() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = TcpEndpoint(socket.AF_INET, *closed.getsockname())
        assert examine_served_certificate(endpoint, NOW).verdict == "unknown"


def test_a_relative_path_starts_from_the_folder_of_the_service(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.pem").write_bytes(b"")
    settings = {"certfile": "a.pem", "other_certificate": ["a.pem,a.key"]}
    for finding in examine_certificates(settings, NOW, str(tmp_path)):
        assert finding.seen == f"{tmp_path}/a.pem: no certificate in it"
    for finding in examine_certificates(settings, NOW, ""):
        assert finding.verdict == "unknown"


def test_an_app_without_certificates_has_none() -> None:
    assert list(examine_certificates({"certfile": None}, NOW, "/")) == []
