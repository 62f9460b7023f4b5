"""In a process of its own: it takes descriptors 1 and 2."""

import os
import subprocess
import sys
from pathlib import Path

PROLOGUE = """
import os, sys
from blazeio_supervisor.worker.process import Printing
printing = Printing()
"""


def run(code: str, *fds: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", PROLOGUE + code, *map(str, fds)]
    return subprocess.run(command, capture_output=True, pass_fds=fds, check=True)


def test_captured_what_is_printed_goes_there_and_the_log_stays(tmp_path: Path) -> None:
    with (tmp_path / "printed").open("wb") as file:
        done = run(
            "printing.capture(int(sys.argv[1]))\n"
            "print('out'); print('err', file=sys.stderr)\n"
            "os.write(printing.log_fd, b'log')\n"
            "os._exit(0)\n",  # nothing may wait in a buffer
            file.fileno(),
        )
    assert (tmp_path / "printed").read_text() == "out\nerr\n"
    assert (done.stdout, done.stderr) == (b"", b"log")


def test_released_it_prints_into_the_log(tmp_path: Path) -> None:
    with (tmp_path / "printed").open("wb") as file:
        done = run(
            "printing.capture(int(sys.argv[1])); printing.release(); print('late')",
            file.fileno(),
        )
    assert (done.stderr, (tmp_path / "printed").read_text()) == (b"late\n", "")


def test_the_log_gets_a_new_file(tmp_path: Path) -> None:
    with (tmp_path / "new").open("wb") as file:
        done = run(
            "printing.reopen([int(sys.argv[1])]); os.write(2, b'a')\n"
            "os.write(printing.log_fd, b'b')",
            file.fileno(),
        )
    assert (done.stderr, (tmp_path / "new").read_text()) == (b"", "ab")


def test_without_a_file_nothing_changes() -> None:
    done = run("printing.reopen([]); printing.release(); os.write(2, b'a')")
    assert done.stderr == b"a"
    assert os.fstat(2)
