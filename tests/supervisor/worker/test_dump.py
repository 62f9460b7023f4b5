import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from blazeio.limits import Limits
from blazeio.server.server import Server
from blazeio_supervisor.ipc.signals import STACK_SIGNAL, STACKS_END
from blazeio_supervisor.worker.stack_dump import MOST_NAMED, StackDump
from tests.support.clock import wait_until

Handler = Callable[[Any], Any]


class StackDumpHarness:
    """A server in this process, and a dump that is called by hand."""

    def __init__(self, handler: Handler) -> None:
        loop = asyncio.get_running_loop()
        self.server = Server(handler, Limits(), loop)
        self.own, self.theirs = socket.socketpair()
        self.dump = StackDump("worker=1", self.theirs)
        self.dump.watch(self.server, loop)
        self.peers: list[socket.socket] = []

    async def send(self, target: str) -> None:
        own, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.peers.append(own)
        await self.server.serve(theirs)
        own.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    async def close(self) -> None:
        self.server.cancel()
        await wait_until(lambda: not self.server.in_flight)
        self.server.close()
        await wait_until(lambda: not self.server.connection_count)
        for each in (*self.peers, self.own, self.theirs):
            each.close()


def dump(site: StackDumpHarness) -> str:
    """What is said of requests, without the ages."""
    site.dump._answer()
    _, said, *_ = site.own.recv(100_000).decode().splitlines()
    return re.sub(r"\(for \d+\.\d s\)", "(for AGE)", said)


async def wait_for_ever(_: Any) -> None:
    await asyncio.Event().wait()


async def test_the_request_that_blocks_is_named() -> None:
    said: list[str] = []

    async def handle(_: Any) -> None:
        said.append(dump(site))

    site = StackDumpHarness(handle)
    await site.send("/block?a=1")
    await wait_until(lambda: said)
    assert said == [
        "worker=1: its loop is in GET /block?a=1 (for AGE); nothing else is in flight"
    ]
    await site.close()


async def test_what_else_is_in_flight_is_named_the_oldest_first() -> None:
    site = StackDumpHarness(wait_for_ever)
    for number in range(MOST_NAMED + 2):
        await site.send(f"/{number}")
        await wait_until(lambda: site.server.in_flight == number + 1)  # noqa: B023
    text = dump(site)
    assert "its loop is in test_what_else_is_in_flight" in text
    assert "in no request; also in flight: GET /0 (for AGE), GET /1 " in text
    assert text.endswith(f"GET /{MOST_NAMED - 1} (for AGE) and 2 more")
    await site.close()


async def test_a_long_target_is_cut() -> None:
    site = StackDumpHarness(wait_for_ever)
    await site.send("/" + "x" * 1000)
    await wait_until(lambda: site.server.in_flight)
    assert f"GET /{'x' * 199} (for" in dump(site)
    await site.close()


async def test_a_callback_is_no_request() -> None:
    site = StackDumpHarness(wait_for_ever)
    said: list[str] = []
    asyncio.get_running_loop().call_soon(lambda: said.append(dump(site)))
    await wait_until(lambda: said)
    assert said == [
        "worker=1: its loop is in no request: it waits, or runs a callback; "
        "nothing else is in flight"
    ]
    await site.close()


async def test_who_asks_is_told_of_each_task() -> None:
    site = StackDumpHarness(wait_for_ever)
    await site.send("/wait")
    await wait_until(lambda: site.server.in_flight)
    site.dump._answer()
    text = site.own.recv(100_000).decode()
    assert "Task (most recent call first): GET /wait (for" in text
    assert "in wait_for_ever" in text
    assert text.endswith("\n\0")
    await site.close()


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    own, theirs = socket.socketpair()
    StackDump("worker=1", theirs)._send(b"x" * 10_000_000)
    own.close()
    StackDump("worker=1", theirs)._send(b"nobody is there")
    theirs.close()


CODE = """
import socket, sys, threading, time
from blazeio_supervisor.worker.process import OwnInstallations
from blazeio_supervisor.worker.stack_dump import StackDump
sys.stderr = None  # as an app may do
StackDump("worker=1", socket.socket(fileno=int(sys.argv[1]))).arm(
    OwnInstallations()
)
def idle():
    time.sleep(60)
threading.Thread(target=idle, daemon=True).start()
print("armed", flush=True)
time.sleep(60)
"""


def test_by_the_signal_all_threads_are_told_and_the_sleep_goes_on() -> None:
    own, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(theirs.fileno())],
        stdout=subprocess.PIPE,
        pass_fds=[theirs.fileno()],
        text=True,
    )
    theirs.close()
    assert process.stdout is not None
    assert process.stdout.readline() == "armed\n"
    for _ in range(2):
        os.kill(process.pid, STACK_SIGNAL)
        said = b""
        while STACKS_END not in said:
            said += own.recv(100_000)
        text = said.decode()
        assert "in idle" in text
        assert "most recent call first" in text
        assert "\nworker=1: it is starting\n" in text
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    own.close()
