"""A listener that the app has shut down, or lets go of, is mended by the service."""

import socket
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    read_status,
    serialize_get,
    start_service,
)
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers
from tests.support.peer import UnexpectedEndError
from tests.support.variations import vary

pytestmark = pytest.mark.slow
HOSTILE = (
    APP
    + """
import socket

def find_listeners():
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            yield int(name), sock

@web.add_route
async def shut(r, route="/shut"):
    for _, sock in find_listeners():
        sock.shutdown(socket.SHUT_RDWR)
    await io.Deliver.text(r, "shut")

@web.add_route
async def close(r, route="/close"):
    for fd, _ in find_listeners():
        with open(os.devnull) as null:
            os.dup2(null.fileno(), fd)
    await io.Deliver.text(r, "closed")

@web.add_route
async def release(r, route="/release"):
    os.close(max(fd for fd, _ in find_listeners()))
    await io.Deliver.text(r, "released")
"""
)


def ask(service: Service, path: str) -> bytes:
    try:
        return service.get(path).body
    except (ConnectionError, UnexpectedEndError, TimeoutError):
        return b""  # it waited in what was shut


@pytest.mark.parametrize(
    "loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.long)]
)
def test_a_listener_that_is_shut_down_is_made_anew(
    live_server: LiveServers, tmp_path: Path, loop: str
) -> None:
    path = tmp_path / "s"
    options = ("--loop", loop, "--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    service = start_service(
        live_server, tmp_path, *options, "--control", "c.sock", code=HOSTILE
    )
    for count in (1, 2):
        assert ask(service, "/shut") == b"shut"
        # That of the slot, and the unix socket of all.
        service.server.wait_for_log("event=listener_dead .*recreated", count=2 * count)
        answered: set[bytes] = set()

        def have_all_answered(answered: set[bytes] = answered) -> bool:
            answered.add(ask(service, "/"))
            return len(answered - {b""}) == 2

        block_until(have_all_answered, 10)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(scaled(5))
        client.connect(str(path))
        client.sendall(serialize_get())
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    status = read_status(service)
    assert status["is_ready"]
    assert status["dead_listeners"] == []
    assert len(service.pids()) == 2


@pytest.mark.long
def test_a_worker_that_accepts_nothing_gets_its_listener_again(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=HOSTILE, workers=1)
    assert ask(service, "/close") == b"closed"
    assert service.get("/").body == str(service.pids()[0]).encode()
    assert "event=worker_deaf" in service.server.log


@pytest.mark.long
@vary("loop", ["uvloop", "asyncio"])
def test_one_that_still_accepts_nothing_is_replaced(
    live_server: LiveServers, tmp_path: Path, loop: str
) -> None:
    """It closes the descriptor: its number may be that of the next connection."""
    options = "--loop", loop
    service = start_service(live_server, tmp_path, *options, code=HOSTILE, workers=1)
    (old,) = service.pids()
    assert ask(service, "/release") == b"released"

    def is_replaced() -> bool:
        return ask(service, "/") not in (b"", str(old).encode())

    block_until(is_replaced, 30)
    for _ in range(5):
        assert service.get("/").body == str(service.pids()[0]).encode()
    assert "so it is replaced" in service.server.log
    assert "Traceback" not in service.server.log
