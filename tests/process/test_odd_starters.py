"""What the starter leaves to the service: closed descriptors, a strict terminal."""

import contextlib
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import psutil
import pytest

from tests.process.service import APP, change
from tests.support.clock import block_until, scaled
from tests.support.live import resolve
from tests.support.variations import vary

pytestmark = pytest.mark.slow
PRINTS = change(
    APP,
    "@web.add_route\nasync def pid(",
    """
import sys

@web.add_route
async def prints(r, route="/prints"):
    for stream in (sys.stdout, sys.stderr):
        print("a line", file=stream, flush=True)
    os.write(1, b"octets ")
    os.write(2, b"octets ")
    await io.Deliver.text(r, "printed")

@web.add_route
async def pid(""",
)


def find_standard_files(pid: int) -> list[str]:
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)]


@pytest.mark.long
@vary("closed", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_closed_standard_descriptors_are_dev_null(tmp_path: Path, closed: str) -> None:
    (tmp_path / "app.py").write_text(PRINTS)
    log = tmp_path / "own.log"
    words = [
        "app:web",
        "--workers",
        "1",
        "--bind",
        "127.0.0.1:0",
        "--log-file",
        str(log),
    ]
    program = resolve(["blazeio-supervisor", *words])
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *program]
    with subprocess.Popen(shell, cwd=tmp_path) as process:
        try:
            block_until(lambda: log.exists() and "event=ready" in log.read_text(), 10)
            port = log.read_text().partition("http://127.0.0.1:")[2].partition(":")[0]
            url = f"http://127.0.0.1:{port}/prints"
            for _ in range(5):
                answer = subprocess.check_output(["curl", "-sS", url], timeout=10)
                assert answer == b"printed"
            # A fourth may be there for a moment, that keeps the running program.
            block_until(lambda: len(_children(process.pid)) == 2)
            family = [process.pid, *(each.pid for each in _children(process.pid))]
            for pid in family:
                assert "socket" not in " ".join(find_standard_files(pid))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(scaled(10)) == 0
    assert "event=stopped" in log.read_text()


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_a_terminal_that_stops_background_jobs_stops_nobody(tmp_path: Path) -> None:
    """``stty tostop``: who writes from the background gets TTOU each time."""
    (tmp_path / "app.py").write_text(PRINTS)
    own, theirs = os.openpty()
    flags = termios.tcgetattr(theirs)
    flags[3] |= termios.TOSTOP
    termios.tcsetattr(theirs, termios.TCSANOW, flags)
    program = resolve(
        ["blazeio-supervisor", "app:web", "--workers", "1", "--bind", "127.0.0.1:0"]
    )
    # Job control puts it into a group of its own, in the background.
    job = 'set -m; "$@" & echo "pid $!"; wait $!; echo "code $?"'
    shell = [*resolve(["setsid", "--ctty"]), "bash", "-c", job, "bash", *program]
    said = ""

    def says(word: str, times: int = 1) -> bool:
        nonlocal said
        with contextlib.suppress(OSError):
            said += os.read(own, 65536).decode()
        return said.count(word) >= times

    os.set_blocking(own, False)
    with subprocess.Popen(
        shell, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            block_until(lambda: says("event=ready"), 10, said)
            pid = int(said.partition("pid ")[2].split()[0])
            port = said.partition("http://127.0.0.1:")[2].partition(":")[0]
            url = f"http://127.0.0.1:{port}/prints"
            answer = subprocess.check_output(["curl", "-sS", url], timeout=10)
            assert answer == b"printed"
            assert "event=scaled" not in said
            os.kill(pid, signal.SIGTTIN)
            block_until(lambda: says("event=scaled"), 10, said)
            os.kill(pid, signal.SIGTTOU)
            block_until(lambda: says("event=scaled", 2), 10, said)
            os.kill(pid, signal.SIGTERM)
            block_until(lambda: says("code 0"), 10, said)
        finally:
            with contextlib.suppress(ProcessLookupError, NameError):
                os.kill(pid, signal.SIGKILL)  # where something above has failed
            process.kill()
    os.close(own)


@pytest.mark.long
def test_a_wrapper_that_has_found_us_elsewhere_starts_us(tmp_path: Path) -> None:
    """As a pex does: nothing of ours is where a fresh interpreter looks."""
    (tmp_path / "app.py").write_text(APP)
    folders = [each for each in sys.path if each]
    (tmp_path / "wrapper.py").write_text(
        f"import sys\nsys.path += {folders!r}\n"
        "from blazeio_supervisor.__main__ import main\nmain()\n"
    )
    command = [sys.executable, "-S", "wrapper.py", "app:web", "--workers", "1"]
    with subprocess.Popen(
        [*command, "--bind", "127.0.0.1:0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = ""
        while "event=ready" not in said and (line := process.stderr.readline()):
            said += line
        process.send_signal(signal.SIGTERM)
        said += process.stderr.read()
    assert process.returncode == 0, said
    assert "event=ready" in said


def test_an_installation_that_is_not_whole_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ImportError('no click')\n")
    (tmp_path / "app.py").write_text(APP)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from blazeio_supervisor.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("blazeio-supervisor: its installation is not whole")
    assert done.stderr.count("\n") == 1
