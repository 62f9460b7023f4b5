"""SIGSTOP, to each process in its turn: who only stood still is not to blame."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.service import Service, start_service
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow
SPAN_S = 3.0  # so long that nobody else is taken for late on a busy machine


@contextmanager
def stopped(pid: int) -> Iterator[float]:
    """Stop a process within this block; gives the time."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield time.monotonic()
    finally:
        os.kill(pid, signal.SIGCONT)


def start(live_server: LiveServers, folder: Path, timeout_s: float) -> Service:
    span = f"{scaled(timeout_s):g}"
    return start_service(live_server, folder, "--timeout", span, workers=3)


@pytest.mark.long
def test_a_stopped_worker_and_a_stopped_forkserver_go_on_where_they_were(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, 2 * SPAN_S)
    (forkserver,) = service.server.children("blazeio: forkserver")
    before = service.pids()
    with stopped(forkserver.pid), stopped(before[0]) as since:
        os.kill(before[1], signal.SIGKILL)
        while time.monotonic() - since < scaled(SPAN_S):
            assert service.get().status == 200
        assert service.pids() == [before[0], before[2]]
    service.wait_count(3)
    service.wait_everybody_answers()
    assert set(before) - set(service.pids()) == {before[1]}
    (same,) = service.server.children("blazeio: forkserver")
    assert same.pid == forkserver.pid


@pytest.mark.long
def test_a_worker_that_stays_stopped_is_replaced_and_nobody_else(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, SPAN_S)
    before = set(service.pids())
    pid = min(before)
    with stopped(pid):
        block_until(lambda: pid not in service.pids(), 30)
    # A TERM has waited for it.
    service.wait_count(3)
    assert before - set(service.pids()) == {pid}
    service.server.wait_for_log(
        rf"event=worker_failed .* pid={pid}: its loop has stood still for \d"
    )


@pytest.mark.long
def test_a_stopped_master_blames_nobody_afterwards(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, SPAN_S)
    before = service.pids()
    with stopped(service.server.pid) as since:
        longer_s = scaled(SPAN_S + 1)
        block_until(lambda: time.monotonic() - since >= longer_s, longer_s + 1)
    service.wait_everybody_answers()
    assert service.pids() == before
    assert "failed" not in service.server.log
    service.reload(2)  # it works on
