import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blazeio_supervisor.fleet.actions import Notify, Stage
from blazeio_supervisor.master.systemd import SystemdNotifier
from tests.support.clock import wait_until
from tests.support.service_manager import ListeningManager


@dataclass
class NotifierHarness:
    telling: SystemdNotifier
    manager: ListeningManager

    def tell(self, notice: Notify) -> list[str]:
        self.telling.notify(notice)
        (message,) = self.manager.read()
        return message.split("\n")


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[NotifierHarness]:
    with ListeningManager(str(tmp_path / "notify")) as manager:
        telling = SystemdNotifier(manager.address, asyncio.get_running_loop())
        yield NotifierHarness(telling, manager)
        telling.notifier.close()


async def test_what_belongs_together_is_one_message(harness: NotifierHarness) -> None:
    notice = Notify(Stage.READY, "8/8 workers", is_alive=True, extend_s=1.5)
    assert harness.tell(notice) == [
        "READY=1",
        f"MAINPID={os.getpid()}",
        "STATUS=8/8 workers",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
    ]


async def test_a_reload_is_told_with_its_moment(harness: NotifierHarness) -> None:
    before = time.monotonic_ns() // 1000
    stage, moment = harness.tell(Notify(Stage.RELOADING))
    assert stage == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= before + 10_000_000


async def test_the_end_is_told(harness: NotifierHarness) -> None:
    assert harness.tell(Notify(Stage.STOPPING)) == ["STOPPING=1"]


async def test_a_failure_says_why(harness: NotifierHarness) -> None:
    harness.telling.fail("cannot bind\n:80", errno.EACCES)
    harness.telling.fail("no module named app", None)
    assert harness.manager.read() == [
        "STATUS=failed: cannot bind :80\nERRNO=13",
        "STATUS=failed: no module named app",
    ]


async def test_sockets_are_kept_and_let_go_by_name(harness: NotifierHarness) -> None:
    with socket.socket() as sock:
        harness.telling.store("many", [sock] * 300)
    harness.manager.read()
    assert len(harness.manager.stored["many"]) == 300
    harness.telling.forget("many")
    harness.manager.read()
    assert "many" not in harness.manager.stored


async def test_its_end_waits_until_all_is_heard(harness: NotifierHarness) -> None:
    harness.telling.fail("last words", None)
    ending = asyncio.create_task(harness.telling.end())
    await wait_until(lambda: bool(harness.manager.read()))
    await asyncio.wait_for(ending, 1)
    assert harness.manager.messages == ["STATUS=failed: last words"]
