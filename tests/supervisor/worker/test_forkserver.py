import os
import signal
from pathlib import Path

import psutil
import pytest

from blazeio_supervisor.ipc.messages import (
    Fork,
    ForkFailed,
    Loaded,
    Quit,
)
from tests.supervisor.worker.lone_generation import (
    HELLO,
    LoneGeneration,
    make_listener,
)
from tests.support.clock import block_until
from tests.support.descriptors import list_open


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


@pytest.mark.slow
def test_a_worker_is_the_masters_own_child(folder: Path) -> None:
    with make_listener() as listener, LoneGeneration(folder) as generation:
        worker = generation.fork_ready([listener])
        assert psutil.Process(worker.pid).ppid() == os.getpid()


@pytest.mark.slow
def test_a_worker_has_no_descriptor_of_the_forkserver_or_a_sibling(
    folder: Path,
) -> None:
    with make_listener() as listener, LoneGeneration(folder) as generation:
        first = generation.fork_ready([listener])
        count = psutil.Process(first.pid).num_fds()
        for _ in range(3):
            last = generation.fork_ready([listener])
        assert psutil.Process(last.pid).num_fds() == count


@pytest.mark.slow
def test_the_forkserver_holds_no_listener(folder: Path) -> None:
    with make_listener() as listener, LoneGeneration(folder) as generation:
        generation.fork_ready([listener])
        link = os.readlink(f"/proc/self/fd/{listener.fileno()}")
        block_until(lambda: link not in list_open(generation.pid), 2)


@pytest.mark.slow
def test_told_to_stop_it_ends_after_its_last_worker(folder: Path) -> None:
    with make_listener() as listener, LoneGeneration(folder) as generation:
        workers = [generation.fork_ready([listener]) for _ in range(2)]
        generation.channel.send(Quit())
        workers[0].channel.close()
        assert workers[0].wait_exit() == 0
        assert psutil.pid_exists(generation.pid)
        workers[1].channel.close()
        assert workers[1].wait_exit() == 0
        assert generation.forkserver.wait_exit() == 0


@pytest.mark.slow
def test_told_to_stop_it_waits_for_no_worker_after_a_term(folder: Path) -> None:
    with make_listener() as listener, LoneGeneration(folder) as generation:
        worker = generation.fork_ready([listener])
        generation.channel.send(Quit())
        generation.forkserver.signal(signal.SIGTERM)
        assert generation.forkserver.wait_exit() == 0
        assert psutil.pid_exists(worker.pid)


@pytest.mark.slow
def test_after_the_master_it_kills_whom_the_grace_period_did_not_end(
    folder: Path,
) -> None:
    with (
        make_listener() as listener,
        LoneGeneration(folder, grace_s=0.3) as generation,
    ):
        worker = generation.fork_ready([listener])
        worker.signal(signal.SIGSTOP)
        generation.channel.close()
        assert worker.wait_exit() == -signal.SIGKILL
        assert generation.forkserver.wait_exit() == 0


@pytest.mark.slow
def test_after_the_master_it_ends_with_its_last_worker(folder: Path) -> None:
    with (
        make_listener() as listener,
        LoneGeneration(folder, grace_s=30) as generation,
    ):
        worker = generation.fork_ready([listener])
        generation.channel.close()
        worker.channel.close()
        assert worker.wait_exit() == 0
        assert generation.forkserver.wait_exit() == 0


@pytest.mark.slow
def test_a_fork_that_the_system_refuses_is_told(folder: Path) -> None:
    with make_listener() as listener, LoneGeneration(folder) as generation:
        generation.channel.hear(Loaded)
        psutil.Process(generation.pid).rlimit(psutil.RLIMIT_NOFILE, (3, 3))
        generation.channel.send(Fork(9, 0), [listener])
        answer = generation.channel.hear(ForkFailed)
        assert answer.worker == 9
        assert answer.reason.startswith("cannot fork: ")
