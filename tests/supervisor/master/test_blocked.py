import asyncio
import socket
from pathlib import Path

import pytest

from blazeio_supervisor.ipc.signals import STACK_SIGNAL, STACKS_END
from blazeio_supervisor.log.formats import MOST_CHARS
from blazeio_supervisor.master.executor import StackReports
from tests.supervisor.master.workers_harness import WorkersHarness
from tests.support.clock import wait_until

DEAF = f"import signal, time; signal.signal({STACK_SIGNAL:d}, signal.SIG_IGN); "
LOST = "event=blocked worker=1 slot=0 gen=1 pid="
THREADS = (
    b'Current thread 0x1 (most recent call first):\n  File "app.py", line 8 in f\n'
)


def ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(mask & 1 << (number - 1))


async def begin(harness: WorkersHarness) -> socket.socket:
    """Report a worker that lives on; gives the end that it would answer by."""
    pid = harness.fork(f"{DEAF} time.sleep(60)")
    await wait_until(lambda: ignores(pid, STACK_SIGNAL), 9)
    reports = StackReports(harness.workers.records, harness.orders, harness.forkservers)
    reports.begin(1, 1.04)
    await asyncio.sleep(0)  # its task has asked by now
    return harness.askers[0]


async def test_the_request_is_named_and_the_stacks_come_with_it(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    asked = await begin(harness)
    subject = b"\nworker=1 slot=0 gen=1 pid=7: its loop is in GET /a (for 1.0 s)\n"
    asked.sendall(THREADS + subject + STACKS_END)
    await wait_until(lambda: LOST in caplog.text)
    assert (
        "its loop has stood still for 1.0 s, no new connection goes to it: "
        "its loop is in GET /a (for 1.0 s)"
    ) in caplog.text
    assert '  File "app.py", line 8 in f\n' in caplog.text


async def test_what_computes_below_python_says_only_where_its_threads_are(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    asked = await begin(harness)
    asked.sendall(THREADS)
    await wait_until(lambda: LOST in caplog.text, 5)
    assert "no new connection goes to it: C code computes in it" in caplog.text
    assert '  File "app.py", line 8 in f\n' in caplog.text


async def test_more_than_most_is_cut(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    asked = await begin(harness)
    asked.sendall(b"x" * (MOST_CHARS + 1) + STACKS_END)
    await wait_until(lambda: LOST in caplog.text)
    assert caplog.text.count("x" * MOST_CHARS) == 1
    assert "x" * (MOST_CHARS + 1) not in caplog.text


async def test_one_that_says_nothing_is_stopped(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    pid = harness.fork()  # which the signal ends
    StackReports(harness.workers.records, harness.orders, harness.forkservers).begin(
        1, 9.0
    )
    assert (await harness.wait_exited()).status == -STACK_SIGNAL
    await wait_until(lambda: LOST in caplog.text)
    assert f"{LOST}{pid}: its loop has stood still for 9.0 s" in caplog.text
    assert "goes to it: it says nothing: it is stopped" in caplog.text


async def test_one_that_is_gone_is_not_reported(harness: WorkersHarness) -> None:
    StackReports(harness.workers.records, harness.orders, harness.forkservers).begin(
        9, 1.0
    )
