"""Standard output and error that cannot be written, or are closed."""

import os
import subprocess
from pathlib import Path
from shlex import quote

import pytest

from tests.supervisor.worker.lone_generation import HELLO
from tests.support.clock import scaled
from tests.support.live import resolve, run_to_exit
from tests.support.variations import vary

PROGRAM = "blazeio-supervisor"
NO_SPACE = f"{PROGRAM}: cannot write to standard output: No space left on device\n"

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program with redirections, as a shell does."""
    program = quote(*resolve([PROGRAM]))
    return run_to_exit(["sh", "-c", f"exec {program} {command}"], cwd=folder)


each_that_prints = vary(
    "words",
    [
        "--help",
        "--version",
        "hello:web --print-config",
        "reload --help",
        "unit --help",
        "check hello:web",
    ],
    usual=2,
)
"""What writes to standard output, and needs no service for it."""


@each_that_prints
def test_output_on_a_full_disk_is_one_line_and_exit_code_1(
    words: str, folder: Path
) -> None:
    done = run(f"{words} > /dev/full", folder)
    assert (done.returncode, done.stderr) == (1, NO_SPACE)


@each_that_prints
def test_a_pipe_whose_reader_has_ended_is_no_line_at_all(
    words: str, folder: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            resolve([PROGRAM, *words.split()]),
            cwd=folder,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=scaled(20),
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@each_that_prints
def test_closed_output_is_not_written(words: str, folder: Path) -> None:
    done = run(f"{words} >&-", folder)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("status --control @blazeio-nobody", 6),
        ("nothing-such", 2),
        ("check none:web", 4),
        ("top --control @blazeio-nobody", 6),
    ],
)
def test_the_exit_code_counts_where_no_reason_can_be_written(
    words: str, code: int, folder: Path
) -> None:
    assert run(f"{words} 2> /dev/full", folder).returncode == code
    assert run(f"{words} 2>&-", folder).returncode == code
