import os
import pwd
import socket
from pathlib import Path

import psutil
import pytest

from tests.process.installation import Installation
from tests.process.service import (
    APP,
    Service,
    change,
    serialize_get,
)
from tests.support.clock import block_until
from tests.support.live import LiveServers, resolve, run_to_exit
from tests.support.namespaces import let_everybody_read_python
from tests.support.peer import BlockingPeer
from tests.support.tls_peer import Certificates
from tests.support.users import need_root

pytestmark = pytest.mark.slow
LOGGING = change(
    APP,
    "0)\n\n@web.add_route\nasync def pid",
    """0,
    access_log="access.log")

@web.add_route
async def write(r, route="/write"):
    open("made", "w").close()
    await io.Deliver.text(r, os.environ["HOME"])

@web.add_route
async def pid""",
)


@pytest.fixture(autouse=True)
def is_root() -> None:
    need_root()


def start_as(live_server: LiveServers, folder: Path, *options: str) -> Service:
    (folder / "app.py").write_text(LOGGING)
    command = ["blazeio-supervisor", "app:web", "--workers", "2", "--canary-hold", "0"]
    wrapped = let_everybody_read_python(resolve([*command, *options]), folder / "aside")
    server = live_server.start(wrapped, cwd=folder)
    service = Service(server, folder)
    service.wait_count(2)
    return service


def test_the_app_runs_as_the_user_and_the_master_as_root(
    live_server: LiveServers, open_folder: Path
) -> None:
    user = pwd.getpwnam("daemon")
    os.chown(open_folder, user.pw_uid, user.pw_gid)
    path = open_folder / "s"
    options = ["--user", "daemon", "--umask", "027", "--bind", "127.0.0.1:0"]
    service = start_as(live_server, open_folder, *options, "--bind", f"unix:{path}")
    children = service.server.children("blazeio: ")
    assert len(children) == 3
    for child in children:
        assert set(child.uids()) == {user.pw_uid}
        assert set(child.gids()) == {user.pw_gid}
        assert " 0 " not in read_groups(child)
    assert psutil.Process(service.server.pid).uids().real == 0
    with BlockingPeer(str(path)) as peer:
        assert b"200 OK" in peer.exchange(serialize_get())
    assert service.get("/write").text == user.pw_dir
    assert describe(path) == (user.pw_uid, user.pw_gid, 0o640)
    assert describe(open_folder / "made") == (user.pw_uid, user.pw_gid, 0o640)
    assert describe(open_folder / "access.log")[:2] == (user.pw_uid, user.pw_gid)
    service.reload(2)
    psutil.Process(service.pids()[0]).kill()
    service.wait_count(2)


def read_groups(process: psutil.Process) -> str:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("Groups:"))
    return f" {line.partition(':')[2].strip()} "


def describe(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, found.st_mode & 0o777


@pytest.mark.long
def test_workers_of_another_user_notice_that_the_master_is_gone(
    live_server: LiveServers, open_folder: Path
) -> None:
    os.chown(open_folder, 12345, 12345)
    service = start_as(live_server, open_folder, "--user", "12345", "--group", "12345")
    group = service.server.group()
    psutil.Process(service.server.pid).kill()
    service.server.wait_exit()
    block_until(lambda: not any(each.is_running() for each in group), 5)


@pytest.mark.long
def test_a_key_that_only_root_reads_is_read_before_and_at_each_reload(
    live_server: LiveServers, open_folder: Path, tmp_path: Path
) -> None:
    user = pwd.getpwnam("daemon")
    os.chown(open_folder, user.pw_uid, user.pw_gid)
    certificates = Certificates(tmp_path)  # which is closed to others
    options = ["--user", "daemon", "--certfile", str(certificates.issue("localhost"))]
    service = start_as(live_server, open_folder, *options)
    for generation in (1, 2):
        (worker, *_) = service.server.children("blazeio: worker")
        assert worker.uids().real == user.pw_uid
        context = certificates.client_context()
        with (
            socket.create_connection(("127.0.0.1", service.server.port)) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as secure,
        ):
            assert secure.version() == "TLSv1.3"
        if generation == 1:
            service.reload(2)


def test_an_installation_that_the_user_may_not_read_is_told(open_folder: Path) -> None:
    """As it is in a clone below /root, the home of root."""
    (open_folder / "app.py").write_text(APP)
    installation = Installation(open_folder / "closed")
    (open_folder / "closed").chmod(0o700)
    command = ["blazeio-supervisor", "app:web", "--user", "daemon", "--workers", "1"]
    wrapped = let_everybody_read_python(resolve(command), open_folder / "aside")
    done = run_to_exit(wrapped, cwd=open_folder, env=installation.env)
    assert done.returncode == 4, done.stderr
    said = f"daemon (uid 1, gid 1) cannot read this installation, {open_folder}/closed/"
    assert said in done.stderr
    assert "install it where every user can read, for instance below /opt" in (
        done.stderr
    )


def test_an_app_that_the_user_may_not_read_is_told(open_folder: Path) -> None:
    (open_folder / "app.py").write_text(APP)
    open_folder.chmod(0o700)
    command = ["blazeio-supervisor", "app:web", "--user", "daemon", "--workers", "1"]
    wrapped = let_everybody_read_python(resolve(command), open_folder / "aside")
    done = run_to_exit(wrapped, cwd=open_folder)
    assert done.returncode == 4, done.stderr
    assert f"cannot enter {open_folder} as daemon (uid 1, gid 1)" in done.stderr
