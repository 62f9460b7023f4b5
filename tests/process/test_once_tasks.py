"""Tasks that run once: never in two processes, and soon in another one."""

import os
import re
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from tests.process.installation import Installation
from tests.process.service import (
    APP,
    read_status,
    start_service,
)
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow
LISTEN = """
import asyncio, os, time

def note(word, name):
    with open("journal", "a") as file:
        file.write(f"{word} {name} {os.getpid()} {time.monotonic()}\\n")

async def listen():
    note("begin", "listen")
    try:
        await asyncio.sleep(600)
    finally:
        note("end", "listen")
"""
OWN = f"{LISTEN}\n{APP}\nweb.add_task(listen, once=True)\n"
ASGI = f"""{LISTEN}
import blazeio_supervisor

@blazeio_supervisor.once(every="1s")
def tick():
    note("begin", "tick")
    note("end", "tick")

blazeio_supervisor.once(listen, name="listen")

async def web(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": str(os.getpid()).encode()}})
"""


class Journal:
    """What the tasks have noted.

    Attributes:
        path: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal"

    def read(self, name: str = "listen") -> list[tuple[str, int, float]]:
        text = self.path.read_text() if self.path.exists() else ""
        lines = [line.split() for line in text.splitlines()]
        return [(w, int(pid), float(at)) for w, of, pid, at in lines if of == name]

    def holders(self, name: str = "listen") -> list[int]:
        return [pid for word, pid, _ in self.read(name) if word == "begin"]

    def wait_for(self, count: int, name: str = "listen") -> int:
        """Wait until it has begun so often; return the pid of the last."""
        block_until(lambda: len(self.holders(name)) >= count, 20, f"{count} {name}")
        return self.holders(name)[-1]

    def check(self, killed: dict[int, float]) -> None:
        """Nobody began before the one before had ended, or was dead."""
        holder = None
        for word, pid, at in self.read():
            if word == "end":
                assert pid == holder
                holder = None
            else:
                if holder is not None:
                    assert holder in killed
                    assert at >= killed[holder]
                holder = pid


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_it_moves_within_a_second_and_never_runs_twice(
    live_server: LiveServers, tmp_path: Path, journal: Journal
) -> None:
    at = ("--control", "c.sock")
    service = start_service(live_server, tmp_path, *at, code=OWN, workers=3)
    killed: dict[int, float] = {}
    for number in (1, 2):
        holder = journal.wait_for(number)
        os.kill(holder, signal.SIGKILL)
        killed[holder] = 0.0
    third = journal.wait_for(3)
    status = read_status(service)
    slots = {w["pid"]: w["slot"] for w in status["workers"]}
    (task,) = status["tasks"]
    assert task["name"] == "app.listen"
    assert (task["is_running"], task["runs"]) == (True, 3)
    assert task["slot"] == status["task_slot"] == slots[third]
    service.wait_count(3)
    service.reload(2)
    journal.wait_for(4)
    block_until(lambda: journal.holders()[-1] in service.pids())
    journal.check(killed)
    ends = [at for word, pid, at in journal.read() if (word, pid) == ("end", third)]
    begins = [at for word, _, at in journal.read() if word == "begin"]
    assert begins[3] - ends[0] < scaled(1.0)
    assert len(service.server.wait_for_log("event=tasks_leased ", count=4)) >= 4


@pytest.mark.long
def test_an_asgi_app_has_them_by_once_and_keeps_their_schedule(
    live_server: LiveServers, tmp_path: Path, journal: Journal
) -> None:
    at = ("--bind", "127.0.0.1:0", "--control", "c.sock")
    service = start_service(live_server, tmp_path, *at, code=ASGI)
    journal.wait_for(1)
    journal.wait_for(2, "tick")
    service.reload(2)
    begun = len(journal.holders("tick"))
    journal.wait_for(begun + 2, "tick")
    begins = [at for word, _, at in journal.read("tick") if word == "begin"]
    gaps = [b - a for a, b in pairwise(begins)]
    assert min(gaps) > 0.9  # also over the reload: it did not begin anew
    journal.check({})
    names = {task["name"]: task["schedule"] for task in read_status(service)["tasks"]}
    assert names == {"app.tick": "every 1 s", "listen": ""}


@pytest.mark.long
def test_the_operator_names_one(
    live_server: LiveServers, tmp_path: Path, journal: Journal
) -> None:
    (tmp_path / "jobs.py").write_text(f"{LISTEN}\ndef tick(): note('begin', 'tick')\n")
    tasks = ("--task", "jobs:listen", "--task", "jobs:tick every 1s")
    at = ("--metrics-bind", "127.0.0.1:0", "--control", "c.sock")
    service = start_service(live_server, tmp_path, *tasks, *at)
    journal.wait_for(1)
    journal.wait_for(2, "tick")
    assert set(journal.holders("tick")) == set(journal.holders())
    place = str(service.folder / "c.sock")
    done = run_to_exit(["blazeio-supervisor", "metrics", "--control", place])
    (count,) = re.findall(
        r'^blazeio_task_runs_total{task="jobs:tick"} (\S+)', done.stdout, re.MULTILINE
    )
    assert float(count) >= 2
    assert 'blazeio_task_running{task="jobs:listen"} 1.0' in done.stdout


@vary(
    ("task", "text"),
    [
        ("jobs:lost", "--task jobs:lost: module 'jobs' has no attribute 'lost'"),
        ("lost:run", "--task lost:run: no module named 'lost'"),
        ("jobs:number", "--task jobs:number: once(7): a function is expected"),
    ],
)
def test_one_that_is_not_there_is_said_in_one_line(
    tmp_path: Path, task: str, text: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "jobs.py").write_text("number = 7\n")
    words = ["blazeio-supervisor", "app:web", "--workers", "2", "--task", task]
    done = run_to_exit(words, cwd=tmp_path)
    assert done.returncode == 4
    assert text in done.stderr


@pytest.mark.long
def test_one_that_raises_is_an_event_and_runs_again(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "jobs.py").write_text("def tick(): raise OSError('no room')\n")
    task = ("--task", "jobs:tick every 1s")
    service = start_service(live_server, tmp_path, *task)
    line = r"event=task_failed worker=\d .*: jobs:tick: OSError: no room"
    service.server.wait_for_log(line, count=2)
    assert service.get().status == 200


@pytest.mark.long
def test_an_upgrade_leaves_them_running(
    live_server: LiveServers, tmp_path: Path, journal: Journal
) -> None:
    installed = Installation(tmp_path / "site")
    at = ("--control", "c.sock")
    service = start_service(live_server, tmp_path, *at, code=OWN, env=installed.env)
    holder = journal.wait_for(1)
    service.server.signal(signal.SIGUSR2)
    service.server.wait_for_log("event=upgraded ", timeout_s=40)
    assert journal.holders() == [holder]
    (task,) = read_status(service)["tasks"]
    assert (task["is_running"], task["runs"]) == (True, 1)
    os.kill(holder, signal.SIGKILL)
    assert journal.wait_for(2) != holder
    journal.check({holder: 0.0})


def test_the_end_of_the_master_ends_them(
    live_server: LiveServers, tmp_path: Path, journal: Journal
) -> None:
    service = start_service(live_server, tmp_path, code=OWN)
    holder = journal.wait_for(1)
    os.kill(service.server.pid, signal.SIGKILL)
    block_until(lambda: ("end", holder) in [(w, p) for w, p, _ in journal.read()])
    service.server.wait_exit()
    service.server.wait_group_gone()
