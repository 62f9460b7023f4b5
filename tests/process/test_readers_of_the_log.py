"""A log is written for who reads it: a person at a terminal, or the journal."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.service import APP
from tests.support.clock import block_until, scaled
from tests.support.live import resolve

pytestmark = pytest.mark.slow
COMMAND = ["blazeio-supervisor", "app:web", "--workers=1", "--control=c.sock"]


class Reader:
    """Reads standard error of a service, whatever that is."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self.log = ""

    def has(self, pattern: str) -> bool:
        try:
            self.log += os.read(self._fd, 65536).decode()
        except OSError:
            pass  # nothing now, or a terminal that nobody has open any more
        return re.search(pattern, self.log) is not None


@contextmanager
def run(folder: Path, ends: tuple[int, int], **environ: str) -> Iterator[Reader]:
    """Run a service with one end as its standard error; an app that warns."""
    (folder / "app.py").write_text(f"import warnings\nwarnings.warn('mind')\n{APP}")
    own, theirs = ends
    env = {**os.environ, "TERM": "xterm", **environ}
    env.pop("NO_COLOR", None)
    command = [*resolve(COMMAND), "--bind=127.0.0.1:0"]
    with subprocess.Popen(command, cwd=folder, stderr=theirs, env=env) as process:
        os.close(theirs)
        reader = Reader(own)
        try:
            block_until(lambda: reader.has("event=ready|worker_ready"), 20)
            yield reader
        finally:
            process.terminate()
            # A terminal whose queue is full would hold the last lines up.
            block_until(
                lambda: bool(reader.has("$^")) or process.poll() is not None, scaled(10)
            )
            os.close(own)


@pytest.mark.long
def test_on_a_terminal_it_is_coloured(tmp_path: Path) -> None:
    with run(tmp_path, os.openpty()) as reader:
        assert "\x1b[1mevent=listening\x1b[0m" in reader.log
        assert "\x1b[33mWARNING\x1b[0m" in reader.log  # of a worker's process
        done = subprocess.run(
            resolve(["blazeio-supervisor", "reload", "--wait", "--control=c.sock"]),
            cwd=tmp_path,
            check=False,
            capture_output=True,
            timeout=scaled(20),
        )
        assert done.returncode == 0
        pattern = r"\x1b\[1mevent=reloaded\x1b\[0m"
        block_until(lambda: reader.has(pattern), 10)


def test_in_the_journal_each_line_has_its_priority_and_no_time(tmp_path: Path) -> None:
    own, theirs = os.pipe()
    found = os.fstat(theirs)
    stream = f"{found.st_dev}:{found.st_ino}"
    with run(tmp_path, (own, theirs), JOURNAL_STREAM=stream) as reader:
        lines = reader.log.splitlines()
        assert any(line.startswith("<6>INFO    event=listening ") for line in lines)
        assert any(line.startswith("<4>WARNING ") for line in lines)
        assert [line for line in lines if not re.match(r"<[0-7]>", line)] == []


def test_in_a_pipe_it_is_plain(tmp_path: Path) -> None:
    with run(tmp_path, os.pipe(), JOURNAL_STREAM="1:1") as reader:
        assert "\x1b" not in reader.log
        lines = reader.log.splitlines()
        assert any(re.match(r"\d{4}-\d\d-\d\dT\S+ INFO    event=", x) for x in lines)
