"""In a process of its own: it takes the place of Python's hooks."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROLOGUE = """
import asyncio, gc, logging, sys, threading, warnings
from blazeio_supervisor.log.formats import LogOrigin
from blazeio_supervisor.log.formats import LogConfig
from blazeio_supervisor.log.setup import configure_other_logs
configure_other_logs(LogConfig(level="INFO", is_json=True), 2, LogOrigin(worker=3))

class Bad:
    def __del__(self):
        raise RuntimeError("of a finalizer")

async def fail():
    raise RuntimeError("of a task")

async def forget():
    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    del task
"""


def run(code: str) -> str:
    command = [sys.executable, "-c", PROLOGUE + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.stderr


def read_only(code: str) -> dict[str, Any]:
    (line,) = map(json.loads, run(code).splitlines())
    assert line.pop("worker") == 3
    assert isinstance(line, dict)
    return line


@pytest.mark.parametrize(
    ("code", "logger", "level", "text"),
    [
        ("warnings.warn('old')", "py.warnings", "WARNING", ": UserWarning: old"),
        ("Bad()", "python", "ERROR", "Exception ignored in: <function Bad.__del__"),
        (
            "threading.Thread(target=lambda: 1 / 0, name='mine').start()",
            "python",
            "ERROR",
            "an exception ends the thread 'mine'",
        ),
        ("1 / 0", "python", "ERROR", "an exception ends the process"),
        (
            "asyncio.run(forget()); gc.collect()",
            "asyncio",
            "ERROR",
            "Task exception was never retrieved",
        ),
        ("logging.getLogger('lib').warning('odd')", "lib", "WARNING", "odd"),
    ],
)
def test_what_would_be_printed_is_a_record(
    code: str, logger: str, level: str, text: str
) -> None:
    line = read_only(code)
    assert (line["logger"], line["level"]) == (logger, level)
    assert text in line["text"]
    assert ("traceback" in line) == (level == "ERROR")


def test_what_logging_would_not_print_is_not_printed() -> None:
    assert run("logging.getLogger().setLevel(1); logging.getLogger('a').info('b')") == (
        ""
    )


def test_a_thread_may_end_by_leaving() -> None:
    assert run("threading.Thread(target=sys.exit).start()") == ""


def test_a_warning_for_a_file_of_its_own_goes_there() -> None:
    code = "warnings.showwarning('old', UserWarning, 'a.py', 7, sys.__stderr__)"
    assert run(code) == "a.py:7: UserWarning: old\n"


def test_an_app_that_configures_logging_later_is_left_alone() -> None:
    code = "logging.basicConfig(format='mine %(message)s')"
    assert run(f"{code}; logging.getLogger('asyncio').error('x')") == "mine x\n"
