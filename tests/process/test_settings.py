"""Settings of a running service: what a reload changes, and what it does not."""

from pathlib import Path

import psutil
import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    read_title,
)
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow
QUICK = "canary_hold = 0\ndrain_idle = 0.2\n"


def write(folder: Path, text: str) -> None:
    (folder / "blazeio.toml").write_text(QUICK + text)


def start(live_server: LiveServers, folder: Path, text: str) -> Service:
    """A service that has its settings from a file alone."""
    write(folder, f'app = "app:web"\nworkers = 1\ncontrol = "c.sock"\n{text}')
    (folder / "app.py").write_text(APP)
    server = live_server.start(["blazeio-supervisor"], cwd=folder, ready="event=ready ")
    return Service(server, folder)


def reload(service: Service) -> tuple[int, str]:
    words = ["blazeio-supervisor", "reload", "--wait", "--control", "c.sock"]
    done = run_to_exit(words, cwd=service.folder, timeout_s=20)
    return done.returncode, done.stdout + done.stderr


def test_a_reload_takes_over_what_the_file_says_by_then(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, "")
    (tmp_path / "other.py").write_text(change(APP, '"late"', '"other"'))
    write(
        tmp_path,
        'app = "other:web"\nworkers = 2\ncontrol = "c.sock"\n'
        'max_target_bytes = 20\nlog_level = "debug"\nname = "new"\n',
    )
    code, said = reload(service)
    assert (code, "restarted: name" in said) == (0, True), said
    service.wait_count(2)
    assert service.get("/slow?0").body == b"other"
    assert service.get("/slow?0" + "0" * 20).status == 414
    assert "[other:web]" in read_title(psutil.Process(service.server.pid))
    service.server.wait_for_log("DEBUG ")


def test_a_file_that_is_broken_fails_it_in_one_line_and_all_goes_on(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, "")
    pids = service.pids()
    write(tmp_path, 'app = "app:web"\nworkres = 2\n')
    code, said = reload(service)
    assert code == 1
    assert "unknown key 'workres': did you mean 'workers'?" in said
    assert len(said.splitlines()) == 1
    assert service.pids() == pids
    assert service.get().status == 200


@pytest.mark.long
def test_settings_fall_with_the_code_that_is_not_taken(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, "")
    write(
        tmp_path,
        'app = "app:web"\nworkers = 3\ncontrol = "c.sock"\nmax_target_bytes = 5\n',
    )
    (tmp_path / "app.py").write_text("1 / 0")
    code, _ = reload(service)
    assert code == 1
    assert service.get("/slow?0").status == 200
    service.wait_count(1)
