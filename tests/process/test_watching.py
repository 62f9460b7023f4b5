"""``--reload``: new code at each change of a file."""

import os
import time
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    start_service,
)
from tests.support.clock import block_until
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow


def write(path: Path, code: str) -> None:
    """Put code in place whole: of a file that is being written half is seen."""
    draft = path.with_suffix(".draft")
    draft.write_text(code)
    draft.replace(path)


def test_a_change_is_live_in_all_workers_and_a_mistake_leaves_them_alone(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--reload")
    service.server.wait_for_log("event=watching ")
    write(tmp_path / "app.py", change(APP, '"late"', '"new"'))
    service.server.wait_for_log(r"event=reload_ok .*--reload \(app\.py\)", timeout_s=20)
    # An old worker accepts until it has read the order to drain.
    block_until(lambda: {service.get("/slow?0").body for _ in range(10)} == {b"new"})
    write(tmp_path / "app.py", APP + "\nif True:\n")
    service.server.wait_for_log("event=reload_failed ", timeout_s=20)
    assert "IndentationError" in service.server.log
    assert service.get("/slow?0").body == b"new"
    write(tmp_path / "app.py", APP)
    block_until(lambda: service.get("/slow?0").body == b"late", 20)


@pytest.mark.long
def test_code_that_fails_at_the_start_is_waited_for(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("import blazeio\n1 / 0\n")
    words = ["blazeio-supervisor", "app:web", "--workers", "2", "--reload"]
    waits = r"event=boot_waits .*ZeroDivisionError.*waiting for a change"
    server = live_server.start(words, cwd=tmp_path, ready=waits)
    server.wait_for_log("event=watching ")
    write(tmp_path / "app.py", APP)
    server.wait_for_log("event=reload_ok ", timeout_s=20)
    assert Service(server, tmp_path).get().status == 200


@pytest.mark.long
def test_where_the_kernel_tells_nothing_the_files_are_looked_at(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ("--reload", "--reload-poll", "--reload-exclude", "draft_*")
    service = start_service(live_server, tmp_path, *options)
    service.server.wait_for_log("event=watching .*, by looking at the files")
    (tmp_path / "draft_app.py").write_text("")
    write(tmp_path / "app.py", change(APP, '"late"', '"new"'))
    # Looking at files knows their times in whole seconds: this is another one.
    later_s = time.time() + 2
    os.utime(tmp_path / "app.py", (later_s, later_s))
    service.server.wait_for_log(r"event=reload_ok .*--reload \(app\.py\)", timeout_s=20)
