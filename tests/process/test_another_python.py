"""The interpreter of the next generation: that of another virtual environment."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.process.service import APP, start_service
from tests.process.strict_clients import StrictClients
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow
TELLS = APP + (
    "\nimport sys\n"
    "@web.add_route\n"
    "async def prefix(r, route='/prefix'):\n"
    "    await io.Deliver.text(r, sys.prefix)\n"
)


def make_environment(folder: Path, *, has_blazeio: bool = True) -> None:
    """A virtual environment; what it has is that of the one that tests."""
    python = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(python, check=True)
    if has_blazeio:
        (packages,) = folder.glob("lib/python3.*/site-packages")
        own = sysconfig.get_path("purelib")
        line = f"import site; site.addsitedir({own!r})\n"
        (packages / "blazeio-of-tests.pth").write_text(line)


def move(folder: Path, name: str) -> None:
    (folder / "next").symlink_to(name)
    (folder / "next").rename(folder / "current")


@pytest.mark.long
def test_a_reload_follows_the_link_to_another_environment(
    live_server: LiveServers, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        make_environment(tmp_path / name)
    make_environment(tmp_path / "bare", has_blazeio=False)
    move(tmp_path, "one")
    options = ["--python", "current/bin/python", "--control", "c.sock"]
    service = start_service(live_server, tmp_path, *options, code=TELLS)
    verb = ["blazeio-supervisor", "reload", "--wait", "--control", "c.sock"]

    def reload() -> str:
        done = run_to_exit(verb, timeout_s=30, cwd=tmp_path)
        return done.stdout + done.stderr

    assert service.get("/prefix").text == str(tmp_path / "current")
    with StrictClients(service.server.host, service.server.port) as clients:
        move(tmp_path, "two")
        assert "generation 2 serves in every slot" in reload()
        move(tmp_path, "bare")
        assert "blazeio itself could not be started" in reload().splitlines()[-1]
        move(tmp_path, "one")
        assert "serves in every slot" in reload()
    assert not clients.failures
    assert service.server.is_running()
