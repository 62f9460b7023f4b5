"""Relative paths start from the working directory of the service, wherever the app
goes by itself."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import trustme

from tests.process.service import APP, Service, change, serialize_get, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow
IMPORT = "import blazeio as io\n"
LEAVING = change(APP, IMPORT, f"{IMPORT}os.chdir('..')\n")
OWN = change(
    LEAVING,
    '"127.0.0.1", 0)',
    '"127.0.0.1", 0, access_log="access", tls=io.TlsSettings(certfile="web.pem"))',
)
GONE_LATER = change(
    APP,
    "def make():",
    """@web.on_start
async def leave():
    os.chdir("/")

def make():""",
)
OPTIONS = ("--access-log", "access", "--certfile", "web.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two below ``tmp_path``, so that what goes astray is seen there."""
    folder = tmp_path / "outside" / "folder"
    folder.mkdir(parents=True)
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "web.pem"))
    return folder


@vary(
    ("code", "app", "options"),
    [
        (LEAVING, "app:web", OPTIONS),
        (LEAVING, "app.py", OPTIONS),
        (OWN, "app:web", ()),
        (OWN, "app:web", ("--no-preload",)),
        (GONE_LATER, "app:web", OPTIONS),
    ],
)
def test_every_file_of_the_service_is_found_there(
    live_server: LiveServers,
    folder: Path,
    code: str,
    app: str,
    options: tuple[str, ...],
) -> None:
    words = ("--bind", "127.0.0.1:0", "--bind", "http://unix:s", "--pid-file", "pid")
    service = start_service(
        live_server, folder, *options, *words, code=code, app=app, workers=1
    )
    ask(folder)
    access = folder / "access"
    block_until(lambda: count_lines(access) == 1, 5, "a line")
    access.rename(folder / "access.1")
    service.server.signal(signal.SIGUSR1)
    block_until(access.exists, 5, "the new file")
    ask(folder)
    block_until(lambda: count_lines(access) == 1, 5, "a line in the new file")
    replace_worker(service)
    ask(folder)
    block_until(lambda: count_lines(access) == 2, 5, "a line of the new worker")
    service.reload(2)
    service.server.end(5)
    left = {each.name for each in folder.iterdir()} - {"__pycache__"}
    assert left == {"app.py", "web.pem", "access", "access.1"}
    assert [each.name for each in folder.parent.iterdir()] == ["folder"]
    assert not Path("/access").exists()


def ask(folder: Path) -> None:
    at = os.getcwd()
    os.chdir(folder)  # its path may be longer than the kernel's 107 octets
    try:
        with BlockingPeer("s") as peer:
            assert b"200 OK" in peer.exchange(serialize_get())
    finally:
        os.chdir(at)


def replace_worker(service: Service) -> None:
    (pid,) = service.pids()
    psutil.Process(pid).kill()
    service.wait_for(
        lambda workers: bool(workers) and pid not in service.pids(), "another worker"
    )


def count_lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
