"""The mode of every file and socket that a service makes, and who comes in by it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.service import APP
from tests.support.clock import block_until
from tests.support.live import resolve
from tests.support.namespaces import let_everybody_read_python, need_namespaces
from tests.support.variations import vary

pytestmark = pytest.mark.slow

NOBODY, ANOTHER = 65534, 4242
CONNECT = """
import os, socket, sys
os.setgroups([])
os.setresgid(*3 * [int(sys.argv[1])])
os.setresuid(*3 * [int(sys.argv[1])])
with socket.socket(socket.AF_UNIX) as sock:
    try:
        sock.connect(sys.argv[2])
    except PermissionError:
        sys.exit("refused")
"""
MADE = (
    "serve.sock",
    "metrics.sock",
    "control.sock",
    "service.log",
    "access.log",
    "service.pid",
)


@contextmanager
def run_as(folder: Path, uid: int, *options: str) -> Iterator[None]:
    need_namespaces("--mount")
    (folder / "app.py").write_text(APP)
    os.chown(folder, uid, uid)
    become = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    command = resolve(
        [
            *("blazeio-supervisor", "app:web", "--workers=1", "--canary-hold=0"),
            *("--bind=127.0.0.1:0", f"--bind=unix:{folder}/serve.sock"),
            f"--metrics-bind=unix:{folder}/metrics.sock",
            f"--control={folder}/control.sock",
            f"--log-file={folder}/service.log",
            f"--access-log={folder}/access.log",
            f"--pid-file={folder}/service.pid",
            *options,
        ]
    )
    command = ["setpriv", *become, *command]
    wrapped = let_everybody_read_python(command, folder / "aside")
    log = folder / "service.log"
    with subprocess.Popen(wrapped, cwd=folder) as process:
        try:
            block_until(
                lambda: log.exists() and "event=worker_ready" in log.read_text(), 20
            )
            yield
        finally:
            process.terminate()


def may_connect(path: Path, uid: int) -> bool:
    command = [sys.executable, "-c", CONNECT, str(uid), str(path)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@vary(
    ("uid", "umask", "mode"),
    [(0, (), 0o666), (NOBODY, (), 0o666), (NOBODY, ("--umask=007",), 0o660)],
    ids=["root", "nobody", "nobody 007"],
)
def test_each_has_its_mode_whoever_runs_it(
    open_folder: Path, uid: int, umask: tuple[str, ...], mode: int
) -> None:
    with run_as(open_folder, uid, *umask):
        found = {path.name: path.stat() for path in open_folder.iterdir()}
        assert {name: oct(found[name].st_mode & 0o777) for name in MADE} == {
            "serve.sock": oct(mode),
            "metrics.sock": oct(mode),
            "control.sock": oct(0o600),
            "service.log": oct(0o640),
            "access.log": oct(0o640),
            "service.pid": oct(0o644),
        }
        assert {found[name].st_uid for name in MADE} == {uid}
        for name, who, may in (
            ("serve.sock", ANOTHER, not umask),
            ("metrics.sock", ANOTHER, not umask),
            ("control.sock", ANOTHER, False),
            ("serve.sock", uid, True),
            ("metrics.sock", uid, True),
            ("control.sock", uid, True),
        ):
            assert may_connect(open_folder / name, who) is may, (name, who)
