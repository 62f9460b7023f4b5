"""Where the lines go, and whose they are."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.clock import block_until, scaled
from tests.support.live import resolve, run_to_exit
from tests.support.peer import BlockingPeer
from tests.support.response import Response
from tests.support.served import serialize_request
from tests.support.variations import vary

pytestmark = pytest.mark.slow
APP = """
import asyncio, os, sys, warnings
import blazeio as io

web = io.App("127.0.0.1", 0)

@web.add_route
async def prints(r, route="/print"):
    print("to standard output")
    print("to standard error", file=sys.stderr)
    await io.Deliver.text(r, str(os.getpid()))

@web.add_route
async def fails(r, route="/fail"):
    raise RuntimeError("a fault of the app")

@web.add_route
async def stray(r, route="/stray"):
    warnings.warn("an old way")
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    try:
        1 / 0
    except ZeroDivisionError as error:
        sys.excepthook(type(error), error, None)
    await io.Deliver.text(r, "")

sys.excepthook = lambda *_: print("a hook of the app", file=sys.stderr)
print("while it was imported")
warnings.warn("at the import")
"""


class Running:
    """A service whose log is in a file."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "app.py").write_text(APP)
        self.log = folder / "log"
        words = ["blazeio-supervisor", "app:web", "--workers", "2", *options]
        words += ["--log-file", "log", "--control", "c.sock"]
        self.process = subprocess.Popen(
            resolve(words), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.wait_for("worker_ready", count=2)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line of the log that is not the app's own output."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line[:1] == "{"]

    def find(self, **wanted: str) -> list[dict[str, Any]]:
        """The lines with these values."""
        return [line for line in self.lines if wanted.items() <= line.items()]

    def wait_for(self, event: str, count: int = 1) -> None:
        def are_there() -> bool:
            return self.log.exists() and len(self.find(event=event)) >= count

        block_until(are_there, 15, event)

    def get(self, target: str) -> Response:
        (listening,) = self.find(event="listening")
        (port,) = re.findall(r"http://127.0.0.1:(\d+)", listening["text"])
        with BlockingPeer("127.0.0.1", int(port)) as peer:
            peer.send(serialize_request("GET", target))
            return peer.read_response()

    def end(self) -> tuple[bytes, bytes]:
        """What it has printed, beside its log."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=scaled(10))


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def begin(*options: str) -> Running:
        running.append(Running(tmp_path, "--log-format", "json", *options))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is not None:
            continue
        children = psutil.Process(each.process.pid).children(recursive=True)
        each.end()
        for child in children:
            if child.is_running():
                child.kill()


def test_the_log_is_a_file_of_json_lines_and_output_stays_where_it_was(
    start: Start,
) -> None:
    service = start()
    service.get("/print")
    service.get("/fail")
    (fault,) = service.find(level="ERROR")
    assert fault["traceback"].endswith("RuntimeError: a fault of the app")
    children = psutil.Process(service.process.pid).children()
    assert fault["pid"] in {each.pid for each in children}
    printed, _ = service.end()
    assert printed == b"while it was imported\nto standard output\n"
    assert "\nto standard error\n" in service.log.read_text()


@pytest.mark.long
def test_what_python_and_asyncio_would_print_is_json_too(start: Start) -> None:
    service = start()
    service.get("/stray")
    block_until(lambda: bool(service.find(logger="asyncio")))
    (fault,) = service.find(logger="asyncio")
    at_import, in_handler = service.find(logger="py.warnings", level="WARNING")
    assert fault["traceback"].endswith("ZeroDivisionError: division by zero")
    assert (fault["pid"], fault["slot"]) == (in_handler["pid"], in_handler["slot"])
    assert at_import["text"].endswith(": UserWarning: at the import")
    assert "slot" not in at_import
    service.end()
    others = [x for x in service.log.read_text().splitlines() if x[:1] != "{"]
    assert others == ["a hook of the app"]


def test_captured_output_becomes_lines_with_the_name_of_the_worker(
    start: Start,
) -> None:
    service = start("--capture-output")
    pid = int(service.get("/print").body)
    block_until(lambda: len(service.find(logger="blazeio.output")) == 3)
    imported, out, err = service.find(logger="blazeio.output")
    assert (imported["text"], imported["generation"]) == ("while it was imported", 1)
    assert (out["text"], out["pid"]) == ("to standard output", pid)
    assert (err["text"], err["slot"]) == ("to standard error", out["slot"])
    assert service.end() == (b"", b"")


@vary("by", ["USR1", "reopen-logs"])
def test_after_a_rename_every_process_writes_to_a_new_file(
    start: Start, tmp_path: Path, by: str
) -> None:
    service = start("--capture-output")
    service.log.rename(tmp_path / "log.1")
    if by == "USR1":
        service.process.send_signal(signal.SIGUSR1)
    else:
        words = ["blazeio-supervisor", "reopen-logs", "--control", "c.sock"]
        done = run_to_exit(words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "every log file is reopened\n")
    service.wait_for("logs_reopened")
    answered = (tmp_path / "log.1").read_text()
    log = (tmp_path / "log.1").read_text()
    port = re.findall(r"http://127.0.0.1:(\d+)", log)[0]
    seen: set[int] = set()

    def have_both_failed() -> bool:
        with BlockingPeer("127.0.0.1", int(port)) as peer:
            peer.send(serialize_request("GET", "/fail"))
            peer.read_response()
        seen.update(line["pid"] for line in service.find(level="ERROR"))
        return len(seen) >= 2

    # A worker that has not read its order writes to the old file until it does.
    block_until(have_both_failed, 30)
    old = (tmp_path / "log.1").read_text()
    assert by == "USR1" or old == answered  # it was answered when all had read it
    os.kill(min(seen), signal.SIGKILL)
    service.wait_for("worker_ready")  # forked by one that knows the new file
    assert have_both_failed()
    assert (tmp_path / "log.1").read_text() == old


def test_a_file_that_cannot_be_opened_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    words = ["blazeio-supervisor", "app:web", "--log-file", "/proc/log"]
    done = run_to_exit(words, cwd=tmp_path)
    assert done.returncode == 2
    assert "--log-file /proc/log: " in done.stderr
