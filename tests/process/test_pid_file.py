import os
from pathlib import Path

import psutil
import pytest

from tests.process.service import APP, start_service
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_it_belongs_to_the_service_that_wrote_it(
    live_server: LiveServers, tmp_path: Path
) -> None:
    """However another start with the same file comes to its end."""
    path = tmp_path / "pid"
    words = ("--pid-file", "pid")
    service = start_service(
        live_server, tmp_path, *words, "--bind", "127.0.0.1:0", workers=1
    )
    own = f"{service.server.pid}\n"
    assert path.read_text() == own
    (tmp_path / "broken.py").write_text("1 / 0")
    taken = f"127.0.0.1:{service.server.port}"
    command = ["blazeio-supervisor", "--workers", "1", *words, "--name", "other"]
    for options, status, reason in (
        (["app:web", "--bind", taken], 5, "is in use by"),
        (["app:web", "--bind", "127.0.0.1:0"], 2, f"runs as pid {service.server.pid}"),
        (["app:web"], 2, f"runs as pid {service.server.pid}"),
        (["broken:web", "--bind", "127.0.0.1:0"], 2, "belongs to the service"),
        (["app:web", "--workers", "0"], 2, "--workers 0"),
    ):
        done = run_to_exit([*command, *options], cwd=tmp_path)
        assert (done.returncode, reason in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr
        assert path.read_text() == own
    psutil.Process(service.server.pid).kill()
    service.server.wait_exit()
    service.server.wait_group_gone()
    assert path.read_text() == own
    after = start_service(live_server, tmp_path, *words, workers=1)
    assert path.read_text() == f"{after.server.pid}\n"
    after.server.end(5)
    assert not path.exists()
    done = run_to_exit([*command, "broken:web"], cwd=tmp_path)
    assert done.returncode == 4
    assert not path.exists()


def test_the_folder_may_be_anybodys(live_server: LiveServers, tmp_path: Path) -> None:
    """A draft of a name that can be guessed would lead root elsewhere."""
    folder, victim = tmp_path / "run", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("text")
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    for number in range(os.getpid(), os.getpid() + 200):
        (folder / f"pid.{number}").symlink_to(victim)
    path = folder / "pid"
    path.symlink_to(victim)
    service = start_service(
        live_server, tmp_path, "--pid-file", str(path), code=APP, workers=1
    )
    assert path.read_text() == f"{service.server.pid}\n"
    assert not path.is_symlink()
    service.server.end(5)
    assert not path.exists()
    assert victim.read_text() == "text"
