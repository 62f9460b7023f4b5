"""What the image runs, as PID 1, as its user, on a disk that nobody can write to.

No engine is needed: that is what a container is.
"""

import json
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.deploy.image import read_image
from tests.process.service import APP
from tests.support.live import LiveServers, resolve
from tests.support.namespaces import (
    as_first_process,
    let_everybody_read_python,
    on_a_read_only_disk,
)

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_the_image_serves_and_ends_as_asked(
    live_server: LiveServers, open_folder: Path
) -> None:
    folder = open_folder
    (folder / "app.py").write_text(APP)
    image = read_image()
    uid, gid = image.user
    user = ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups"]
    command = [*resolve(image.command), "--workers", "2", "--drain-idle", "0.2"]
    command = as_first_process([*user, *command])
    command = on_a_read_only_disk(command)
    environ = {
        name: re.sub(r":\d+$", ":0", value) for name, value in image.environ.items()
    }
    server = live_server.start(
        let_everybody_read_python(command, folder / "aside"),
        ready=r'"event": ?"ready"',
        env=environ,
        cwd=folder,
    )
    (master,) = server.children("blazeio: master")
    assert master.uids().real == int(uid)
    events = [json.loads(line) for line in server.log.splitlines()]
    assert {"ready", "listening"} <= {each["event"] for each in events}
    master.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert not psutil.pid_exists(master.pid)
    assert "Read-only" not in server.log
