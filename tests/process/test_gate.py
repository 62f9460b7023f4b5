"""``status --gate`` of a real service, over a good and a bad reload."""

import subprocess
from pathlib import Path

import pytest

from tests.process.service import APP, Service, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow


def ask(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    place = str(service.folder / "c.sock")
    return run_to_exit(["blazeio-supervisor", *words, "--control", place], timeout_s=30)


@pytest.mark.long
def test_it_opens_while_new_code_holds_and_shuts_when_it_was_not_taken(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--control", "c.sock")
    opened = ask(service, "status", "--gate")
    assert (opened.returncode, opened.stdout, opened.stderr) == (0, "", "")
    assert ask(service, "reload", "--wait").returncode == 0
    block_until(lambda: ask(service, "status", "--gate").returncode == 0, 20)
    (tmp_path / "app.py").write_text("raise RuntimeError('broken')")
    assert ask(service, "reload", "--wait").returncode == 1
    shut = ask(service, "status", "--gate")
    assert (shut.returncode, shut.stdout) == (1, "")
    assert "broken" in shut.stderr
    assert len(shut.stderr.splitlines()) == 1
    (tmp_path / "app.py").write_text(APP)
    assert ask(service, "reload", "--wait").returncode == 0
    place = str(tmp_path / "x.sock")
    nobody = run_to_exit(["blazeio-supervisor", "status", "--gate", "--control", place])
    assert nobody.returncode == 6
