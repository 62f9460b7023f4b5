"""What the app forks is not a worker: whatever it is sent, the worker serves on."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.process.service import APP, serialize_get, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.response import parse_responses

pytestmark = pytest.mark.slow
FORKING = (
    APP
    + '''
import multiprocessing, pty, signal, subprocess, sys, threading, traceback

NUMBERS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM")

def rest():
    time.sleep(60)

def rest_and_exit():
    try:
        rest()
    finally:
        os._exit(1)

def by_fork():
    pid = os.fork()
    if pid == 0:
        rest_and_exit()
    return pid

def by_pty():
    pid, fd = pty.fork()
    if pid == 0:
        rest_and_exit()
    return pid

def by_process():
    child = multiprocessing.get_context("fork").Process(target=rest)
    child.start()
    return child.pid

def by_preexec():
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    return subprocess.Popen(words, preexec_fn=lambda: None).pid

def by_popen():
    return subprocess.Popen(["sleep", "60"]).pid

WAYS = {"fork": by_fork, "pty": by_pty, "process": by_process, "preexec": by_preexec,
        "popen": by_popen}

def end(way, number):
    pid = WAYS[way]()
    os.kill(pid, number)  # at once: nothing may be lost
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)

@web.add_route
async def ends(r, route="/ends"):
    """Signal a child, once forked in the loop's thread and once in another."""
    wrong = []
    for name in NUMBERS:
        number = getattr(signal, name)
        wanted = (-number,) if name != "SIGINT" else (-number, 1)
        threaded = asyncio.to_thread(end, r.query, number)
        for got in (end(r.query, number), await threaded):
            if got not in wanted:
                wrong.append((name, got))
    await io.Deliver.text(r, str(wrong))

@web.add_route
async def group(r, route="/double"):
    """A daemon: forked twice, and left."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            os.close(write)
            rest()
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    await io.Deliver.text(r, os.read(read, 20).decode())

@web.add_route
async def exits(r, route="/exits"):
    """Leave the handler in a child, in each way that Python knows."""
    found = []
    for code in ("sys.exit(3)", "sys.exit('why')", "1 / 0", "raise KeyboardInterrupt"):
        pid = os.fork()
        if pid == 0:
            exec(code)
        found.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    await io.Deliver.text(r, str(found))

@web.add_route
async def returns(r, route="/returns"):
    pid = os.fork()
    if pid == 0:
        return
    await io.Deliver.text(r, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))

@web.add_route
async def defaults(r, route="/defaults"):
    """What a program that is started has of signals."""
    words = ["sh", "-c", "grep -E 'SigIgn|SigBlk' /proc/self/status"]
    ran = subprocess.run(words, capture_output=True, text=True).stdout.split()
    # From 32 on they are of the C library.
    await io.Deliver.text(r, str([int(word, 16) & 0x7FFFFFFF for word in ran[1::2]]))

@web.add_route
async def inherits(r, route="/inherits"):
    """What a forked child has of signals, and of sockets of ours."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        names = [n.name for n in signal.Signals
                 if signal.getsignal(n) not in (signal.SIG_DFL, None)]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        wakes = signal.set_wakeup_fd(-1)
        os.write(write, repr((sorted(names), list(mask), wakes, list_ours())).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    await io.Deliver.text(r, os.read(read, 9000).decode())

def list_ours():
    """List its sockets that are bound to an address."""
    import socket
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.getsockname() not in ("", ("0.0.0.0", 0)):
                    found.append(sock.getsockname())
        except OSError:
            pass
    return found
'''
)


def is_living(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    "loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.long)]
)
def test_a_signal_to_a_forked_child_does_what_python_does(
    live_server: LiveServers, tmp_path: Path, loop: str
) -> None:
    options = ("--loop", loop, "--bind", f"unix:{tmp_path}/s", "--bind", "127.0.0.1:0")
    service = start_service(live_server, tmp_path, *options, code=FORKING, workers=1)
    worker = service.pids()
    for way in ("fork", "pty", "process", "preexec", "popen"):
        assert service.get(f"/ends?{way}").body == b"[]", way
    assert service.get("/defaults").body == b"[0, 0]"
    with service.server.connect():  # one that waits for a request
        answer = service.get("/inherits").body
    assert answer == b"(['SIGINT', 'SIGPIPE', 'SIGXFSZ'], [], -1, [])"
    assert service.get("/exits").body == b"[3, 1, 1, 1]"
    assert service.get("/returns").body == b"1"
    assert service.pids() == worker
    daemon = int(service.get("/double").body)
    os.kill(daemon, signal.SIGTERM)
    block_until(lambda: not is_living(daemon), 5)
    assert service.pids() == worker


KEEPING = (
    APP
    + """
import concurrent.futures

POOLS = []

@web.add_route
async def pool(r, route="/pool"):
    POOLS.append(concurrent.futures.ProcessPoolExecutor(1))
    found = await asyncio.get_running_loop().run_in_executor(POOLS[-1], os.getpid)
    await io.Deliver.text(r, str(found))
"""
)


def test_a_forked_child_keeps_no_connection_of_the_worker_open(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=KEEPING, workers=1)
    with service.server.connect() as waiting, service.server.connect() as asking:
        waiting.exchange(serialize_get())
        pid = int(parse_responses(asking.exchange(serialize_get("/pool")))[0].body)
        # The pool lives on, and was forked while both were open.
        asking.send(serialize_get("/", "Connection: close"))
        assert asking.read_response().body == str(service.pids()[0]).encode()
        assert asking.read_until_end() == b""
        assert is_living(pid)
        service.server.signal(signal.SIGTERM)
        assert waiting.read_until_end() == b""
    os.kill(pid, signal.SIGKILL)
    assert service.server.wait_exit() == 0


EXITING = (
    APP
    + """
import sys

def leave():
    pid = os.fork()
    if pid == 0:
        sys.exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

CODES = [leave()]

@web.on_start
def start():
    CODES.append(leave())

@web.add_route
async def codes(r, route="/codes"):
    await io.Deliver.text(r, str([*CODES, leave()]))
"""
)


def test_a_child_ends_with_its_own_code_wherever_it_was_forked(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=EXITING, workers=1)
    assert service.get("/codes").body == b"[5, 5, 5]"
    assert "event=loaded gen=1: the app is imported once" in service.server.log
