import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.ipc.messages import (
    Admit,
    Adopt,
    Drain,
    Failed,
    ListenerInfo,
    Overrides,
    Ready,
    Release,
    ReopenLogs,
    ServeConnection,
    WorkerEvent,
)
from tests.supervisor.worker.lone_generation import (
    HELLO,
    LoneGeneration,
    LoneWorker,
    make_listener,
)
from tests.support.clock import block_until, scaled
from tests.support.peer import BlockingPeer, UnexpectedEndError
from tests.support.users import need_filters

pytestmark = pytest.mark.slow
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
BLOCK = b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with make_listener() as sock:
        yield sock


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "hello.py").write_text(HELLO)
    return folder


@pytest.fixture(scope="module")
def shared_generation(shared_folder: Path) -> Iterator[LoneGeneration]:
    with LoneGeneration(shared_folder) as made:
        yield made


@pytest.fixture
def generation(
    shared_generation: LoneGeneration, shared_folder: Path
) -> Iterator[LoneGeneration]:
    """A forkserver of all tests, and workers of one test each."""
    yield shared_generation
    shared_generation.end_workers()
    (shared_folder / "stopped").unlink(missing_ok=True)


def connect(listener: socket.socket) -> BlockingPeer:
    host, port = listener.getsockname()
    return BlockingPeer(host, port)


def count_in_flight(generation: LoneGeneration, worker: LoneWorker) -> int:
    return worker.row.read().in_flight


def wait_in_flight(
    generation: LoneGeneration, worker: LoneWorker, count: int = 1
) -> None:
    block_until(lambda: count_in_flight(generation, worker) == count)


def test_the_board_says_what_the_worker_does(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    row = worker.row
    with connect(listener) as peer:
        peer.exchange(REQUEST)
        peer.send(SLOW)
        wait_in_flight(generation, worker)
        block_until(lambda: row.read().requests == 2)  # by the next beat
        reading = row.read()
        assert (reading.connections, reading.requests) == (1, 2)
        assert abs(time.monotonic() - reading.beat_at) < scaled(1)
        first = reading.beat_at
        block_until(lambda: row.read().beat_at > first)


def test_a_blocked_loop_does_not_beat_and_is_late_afterwards(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    row = worker.row
    with connect(listener) as peer:
        peer.send(BLOCK)
        block_until(lambda: time.monotonic() - row.read().beat_at > 0.2)
        peer.read_response()
        block_until(lambda: row.read().lag_s > 0.1)
        block_until(lambda: row.read().lag_s < 0.05)


def test_who_is_asked_for_nothing_rests_until_the_next_request(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    row = worker.row
    with connect(listener) as peer:
        peer.exchange(REQUEST)
        block_until(lambda: row.rests)
        rested_at = row.read().beat_at
        peer.exchange(REQUEST)
        assert not row.rests
        assert row.read().beat_at > rested_at
        block_until(lambda: row.rests)


def test_a_request_that_blocks_the_loop_at_once_has_woken_it(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    row = worker.row
    block_until(lambda: row.rests)
    with connect(listener) as peer:
        began_at = time.monotonic()
        peer.send(BLOCK)
        block_until(lambda: not row.rests)
        assert began_at < row.read().beat_at < time.monotonic()
        peer.read_response()


def test_told_to_drain_it_answers_what_is_in_flight_and_exits_0(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as peer:
        peer.send(SLOW)
        wait_in_flight(generation, worker)
        worker.channel.send(Drain(5.0))
        response = peer.read_response()
        assert response.body == b"late"
        assert response.field("connection") == "close"
    assert worker.wait_exit() == 0


def test_a_kept_connection_gets_one_more_answer_while_it_drains(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as peer, connect(listener) as busy:
        busy.send(SLOW)
        peer.exchange(REQUEST)
        wait_in_flight(generation, worker)
        worker.channel.send(Drain(5.0))
        peer.send(REQUEST)
        response = peer.read_response()
        assert response.field("connection") == "close"
        busy.read_response()
    assert worker.wait_exit() == 0


def test_an_ordinary_drain_leaves_the_queue_to_the_successor(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as busy:
        busy.send(SLOW)
        wait_in_flight(generation, worker)
        worker.channel.send(Drain(5.0))
        busy.read_response()
    assert worker.wait_exit() == 0
    with connect(listener) as peer:
        peer.send(REQUEST)
        successor = generation.fork_ready([listener])
        assert peer.read_response().body == str(successor.pid).encode()


def test_the_final_drain_takes_the_queue_and_refuses_from_then_on(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    need_filters()  # else the master alone holds them off
    worker = generation.fork_ready([listener])
    with connect(listener) as busy:
        busy.send(BLOCK)
        block_until(lambda: time.monotonic() - worker.row.read().beat_at > 0.1)
        with connect(listener) as queued:
            queued.send(REQUEST)
            worker.channel.send(Drain(5.0, is_final=True))
            busy.read_response()
            assert queued.read_response().body == str(worker.pid).encode()
    with pytest.raises(ConnectionRefusedError), connect(listener):
        pass
    assert worker.wait_exit() == 0


def test_what_outlasts_the_grace_period_is_cut_and_the_hooks_still_run(
    generation: LoneGeneration, shared_folder: Path, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as peer:
        peer.send(SLOW)
        wait_in_flight(generation, worker)
        worker.channel.send(Drain(0.15))
        with pytest.raises((UnexpectedEndError, ConnectionResetError)):
            peer.read_response()
    assert worker.wait_exit() == 0
    assert (shared_folder / "stopped").exists()


def test_a_handler_that_does_not_end_is_ended_by_the_alarm(
    folder: Path, listener: socket.socket
) -> None:
    (folder / "stubborn.py").write_text(
        "import time, blazeio as io\n"
        "web = io.App()\n"
        "@web.on_stop\n"
        "def stop():\n"
        "    time.sleep(60)\n"
    )
    with LoneGeneration(folder, "stubborn:web") as generation:
        worker = generation.fork_ready([listener])
        worker.channel.send(Drain(0.1))
        assert worker.wait_exit() == -signal.SIGALRM


def test_a_canary_accepts_when_it_is_admitted(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener], is_canary=True)
    with connect(listener) as peer:
        peer.send(REQUEST)
        row = worker.row
        first = row.read().beat_at
        block_until(lambda: row.read().beat_at > first + 0.1)
        assert row.read().connections == 0
        worker.channel.send(Admit())
        assert peer.read_response().body == str(worker.pid).encode()


def test_a_canary_serves_a_connection_that_is_handed_to_it(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener], is_canary=True)
    own, theirs = socket.socketpair()
    with own, theirs:
        worker.channel.send(ServeConnection(), [theirs])
        own.settimeout(scaled(5))
        own.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        theirs.close()
        answer = b"".join(iter(lambda: own.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(str(worker.pid).encode())
    block_until(lambda: worker.row.read().connections == 0)


def test_an_adopted_queue_is_served_until_it_is_released(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with make_listener() as other:
        worker.channel.send(Adopt(1, (ListenerInfo(),)), [other])
        with connect(other) as peer:
            assert str(worker.pid).encode() in peer.exchange(REQUEST)
        worker.channel.send(Release(1))
        with connect(listener) as peer:  # the order has been read by its answer
            peer.exchange(REQUEST)
        with connect(other) as peer:
            peer.send(REQUEST)
            row = worker.row
            first = row.read().beat_at
            block_until(lambda: row.read().beat_at > first + 0.1)
            assert row.read().requests == 2


def test_an_adopter_empties_that_queue_too_at_the_end(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with make_listener() as other:
        worker.channel.send(Adopt(1, (ListenerInfo(),)), [other])
        worker.channel.send(Drain(5.0, is_final=True))
        assert worker.wait_exit() == 0
        with pytest.raises(ConnectionRefusedError), connect(other):
            pass


def test_without_a_master_it_answers_what_it_has_and_ends(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as peer:
        peer.send(SLOW)
        wait_in_flight(generation, worker)
        worker.channel.close()
        assert peer.read_response().body == b"late"
    with pytest.raises(ConnectionRefusedError), connect(listener):
        pass
    assert worker.wait_exit() == 0


def test_term_drains(generation: LoneGeneration, listener: socket.socket) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as peer:
        peer.send(SLOW)
        wait_in_flight(generation, worker)
        worker.signal(signal.SIGTERM)
        assert peer.read_response().body == b"late"
    assert worker.wait_exit() == 0


def test_term_reaches_a_blocked_worker_which_accepts_no_more(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as busy:
        busy.send(BLOCK)
        row = worker.row
        block_until(lambda: time.monotonic() - row.read().beat_at > 0.1)
        worker.signal(signal.SIGTERM)
        with connect(listener) as queued:
            queued.send(REQUEST)
            assert busy.read_response().body == b"late"
            assert worker.wait_exit() == 0
            successor = generation.fork_ready([listener])
            assert queued.read_response().body == str(successor.pid).encode()


def test_the_term_that_comes_with_the_order_cuts_nothing(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as peer:
        peer.send(SLOW)
        wait_in_flight(generation, worker)
        worker.channel.send(Drain(5.0, is_final=True))
        worker.signal(signal.SIGTERM)
        assert peer.read_response().body == b"late"
    assert worker.wait_exit() == 0


def test_the_order_that_comes_with_the_term_has_the_queue_taken(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    with connect(listener) as busy:
        busy.send(BLOCK)
        row = worker.row
        block_until(lambda: time.monotonic() - row.read().beat_at > 0.1)
        worker.signal(signal.SIGTERM)
        with connect(listener) as queued:
            queued.send(REQUEST)
            worker.channel.send(Drain(5.0, is_final=True))
            assert busy.read_response().body == b"late"
            assert queued.read_response().body == str(worker.pid).encode()
    assert worker.wait_exit() == 0


def test_the_order_may_come_long_after_the_term(
    folder: Path, listener: socket.socket
) -> None:
    """The master is busy: meanwhile the worker has begun to drain by itself."""
    (folder / "waits.py").write_text(
        "import asyncio, os, blazeio as io\n"
        "web = io.App()\n"
        "@web.add_route\n"
        "async def wait(r, route='/'):\n"
        "    while not os.path.exists('go'):\n"
        "        await asyncio.sleep(0.01)\n"
        "    await io.Deliver.text(r, 'late')\n"
        "@web.add_route\n"
        "async def idle(r, route='/idle'):\n"
        "    await io.Deliver.text(r, 'idle')\n"
    )
    with LoneGeneration(folder, "waits:web", grace_s=30) as generation:
        worker = generation.fork_ready([listener])
        with connect(listener) as busy, connect(listener) as idle:
            busy.send(REQUEST)
            idle.exchange(b"GET /idle HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_in_flight(generation, worker)
            worker.signal(signal.SIGTERM)
            assert idle.read_until_end() == b""  # so it drains
            with connect(listener) as queued:
                queued.send(REQUEST)
                worker.channel.send(Drain(30.0, is_final=True))
                (folder / "go").touch()
                assert queued.read_response().body == b"late"
                assert busy.read_response().body == b"late"
        assert worker.wait_exit() == 0


def test_a_later_term_cuts_what_is_left(folder: Path, listener: socket.socket) -> None:
    (folder / "endless.py").write_text(
        "import asyncio, blazeio as io\n"
        "web = io.App()\n"
        "@web.add_route\n"
        "async def endless(r, route='/'):\n"
        "    await asyncio.sleep(60)\n"
    )
    with LoneGeneration(folder, "endless:web", grace_s=60) as generation:
        worker = generation.fork_ready([listener])
        with connect(listener) as peer:
            peer.send(REQUEST)
            wait_in_flight(generation, worker)
            worker.channel.send(Drain(60.0))
            row = worker.row
            began_at = time.monotonic()
            block_until(lambda: row.read().beat_at > began_at + 0.7)
            worker.signal(signal.SIGTERM)
            assert worker.wait_exit() == 0


def test_an_order_during_boot_ends_it(folder: Path, listener: socket.socket) -> None:
    (folder / "boots.py").write_text(
        "import asyncio, blazeio as io\n"
        "web = io.App()\n"
        "@web.on_start\n"
        "async def start():\n"
        "    await asyncio.sleep(60)\n"
    )
    with LoneGeneration(folder, "boots:web") as generation:
        worker = generation.fork([listener])
        worker.channel.send(Drain(5.0))
        assert worker.wait_exit() == 0


def test_a_start_hook_that_raises_is_a_failed_boot(
    folder: Path, listener: socket.socket
) -> None:
    (folder / "fails.py").write_text(
        "import blazeio as io\n"
        "web = io.App()\n"
        "@web.on_start\n"
        "def start():\n"
        "    raise OSError('no database')\n"
    )
    with LoneGeneration(folder, "fails:web") as generation:
        worker = generation.fork([listener])
        failed = worker.channel.hear(Failed)
        assert failed.reason == (
            "fails:web failed to start: OSError: no database (fails.py:5)"
        )
        assert failed.traceback.count("  File ") == 1
        assert worker.wait_exit() == 3


def test_a_start_hook_that_exits_is_a_failed_boot(
    folder: Path, listener: socket.socket
) -> None:
    (folder / "leaves.py").write_text(
        "import sys, blazeio as io\n"
        "web = io.App()\n"
        "@web.on_start\n"
        "async def start():\n"
        "    sys.exit(0)\n"
    )
    with LoneGeneration(folder, "leaves:web") as generation:
        worker = generation.fork([listener])
        failed = worker.channel.hear(Failed)
        assert "leaves:web failed to start: ConfigurationError: " in failed.reason
        assert "the on_start hook leaves.start (" in failed.reason
        assert "has failed: SystemExit(0)" in failed.reason
        assert worker.wait_exit() == 3


def test_an_exit_in_a_handler_ends_its_request_alone(
    folder: Path, listener: socket.socket
) -> None:
    (folder / "exits.py").write_text(
        "import sys, blazeio as io\n"
        "web = io.App()\n"
        "@web.add_route\n"
        "async def leave(r, route='/'):\n"
        "    sys.exit('bye')\n"
    )
    with LoneGeneration(folder, "exits:web") as generation:
        worker = generation.fork_ready([listener])
        for _ in range(2):
            with connect(listener) as peer:
                peer.send(REQUEST)
                assert peer.read_response().status == 500
        worker.channel.send(Drain(5.0))
        assert worker.wait_exit() == 0


def test_a_default_timeout_of_the_app_does_not_make_accepting_wait(
    folder: Path, listener: socket.socket
) -> None:
    code = "import socket\nsocket.setdefaulttimeout(60)\n" + HELLO
    (folder / "waits.py").write_text(code)
    with LoneGeneration(folder, "waits:web") as generation:
        worker = generation.fork_ready([listener])
        for _ in range(3):
            with connect(listener) as peer:
                assert str(worker.pid).encode() in peer.exchange(REQUEST)


def test_a_stop_hook_that_takes_too_long_is_cut(
    folder: Path, listener: socket.socket
) -> None:
    (folder / "slow_end.py").write_text(
        "import asyncio, blazeio as io\n"
        "web = io.App()\n"
        "@web.on_stop\n"
        "async def stop():\n"
        "    await asyncio.sleep(60)\n"
    )
    with LoneGeneration(folder, "slow_end:web") as generation:
        worker = generation.fork_ready([listener])
        worker.channel.send(Drain(0.3))
        said = worker.channel.hear(WorkerEvent)
        assert said.event == "stop_hook_failed"
        assert said.text.startswith("on_stop hooks took longer than 0.1 s")
        assert worker.wait_exit() == 0


def test_background_tasks_are_cancelled_at_the_end(
    folder: Path, listener: socket.socket
) -> None:
    (folder / "tasks.py").write_text(
        "import asyncio, blazeio as io\n"
        "web = io.App()\n"
        "async def work():\n"
        "    try:\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        open('cleaned', 'w').close()\n"
        "@web.on_start\n"
        "async def start():\n"
        "    web_task.append(asyncio.create_task(work()))\n"
        "    await asyncio.sleep(0)\n"
        "web_task = []\n"
    )
    with LoneGeneration(folder, "tasks:web") as generation:
        worker = generation.fork_ready([listener])
        worker.channel.send(Drain(5.0))
        assert worker.wait_exit() == 0
        assert (folder / "cleaned").exists()


def test_what_no_master_says_is_logged_and_ignored(
    generation: LoneGeneration, listener: socket.socket
) -> None:
    worker = generation.fork_ready([listener])
    worker.channel.send(Ready())
    with connect(listener) as peer:
        assert str(worker.pid).encode() in peer.exchange(REQUEST)


def test_the_command_line_wins_and_the_log_is_reopened(
    folder: Path, listener: socket.socket
) -> None:
    overrides = Overrides(access_log="log", access_log_format="{worker} {target}")
    with LoneGeneration(folder, overrides=overrides) as generation:
        worker = generation.fork_ready([listener])
        log = folder / "log"
        with connect(listener) as peer:
            peer.exchange(REQUEST)
            block_until(lambda: log.read_text() == "0 /\n")
            log.rename(folder / "old")
            worker.channel.send(ReopenLogs())
            block_until(log.exists)
            peer.exchange(REQUEST)
            block_until(lambda: log.read_text() == "0 /\n")


def test_a_log_that_cannot_be_opened_is_its_end(
    folder: Path, listener: socket.socket
) -> None:
    with LoneGeneration(folder, overrides=Overrides(access_log="/")) as generation:
        worker = generation.fork([listener])
        failed = worker.channel.hear(Failed)
        assert failed.reason == "hello:web: cannot open access log /: Is a directory"
        assert worker.wait_exit() == 3
