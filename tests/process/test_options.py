"""Options that only show in the processes of a service, all in one."""

import os
import stat
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    change,
)
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow
TELLS = change(
    APP,
    "str(os.getpid())",
    "f\"{os.getcwd()} {os.environ['A']} {os.environ['B']} {r.root_path} "
    "{len(os.sched_getaffinity(0))} {os.environ['DEVICE']}\"",
).replace("web = io.App(", "def create(): return web\nweb = io.App(")


def test_each_is_seen_where_it_should_be(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "there" / "src").mkdir(parents=True)
    (tmp_path / "there" / "src" / "app.py").write_text(TELLS)
    (tmp_path / "there" / "app.env").write_text("A=of the file\nB='of the file'\n")
    (tmp_path / "there" / "blazeio.toml").write_text("workers = 0\n")  # not ours
    (tmp_path / "blazeio.toml").write_text(
        """
        app = "app:create"
        factory = true
        workers = 1
        name = "shop"
        chdir = "there"
        app_dir = "src"
        env = {B = "of the table"}
        env_file = "app.env"
        slot_env = {DEVICE = "gpu{slot}"}
        pid_file = "web.pid"
        cpu_affinity = "auto"
        bind = ["127.0.0.1:0", "unix:web.sock"]
        uds_mode = "620"
        no_control = true
        header = ["X-Shop: yes"]
        server_header = false
        root_path = "/shop"
        """
    )
    there = tmp_path / "there"
    server = live_server.start(
        ["blazeio-supervisor"], cwd=tmp_path, ready="event=ready "
    )
    answer = Service(server, there).get()
    assert answer.text == f"{there} of the file of the table /shop 1 gpu0"
    assert answer.field("x-shop") == "yes"
    assert answer.field("server") is None
    assert (there / "web.pid").read_text() == f"{server.pid}\n"
    assert stat.S_IMODE(os.stat(there / "web.sock").st_mode) == 0o620
    server.wait_for_log("event=no_control .*--no-control")
    server.end(5)
    assert not (there / "web.pid").exists()
    assert not (there / "web.sock").exists()
