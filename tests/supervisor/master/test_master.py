"""What can be seen of the master without a client; the rest is in tests/process."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.config.settings import LiveSettings
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.fleet.facts import ScaleAsked
from blazeio_supervisor.ipc.processes import become_subreaper
from blazeio_supervisor.master import listeners
from blazeio_supervisor.master.components import Components, MasterState, build_master
from blazeio_supervisor.master.master import Master
from blazeio_supervisor.sockets.address import Address, TcpAddress, format_address
from tests.supervisor.typed import look_for_sources
from tests.supervisor.worker.lone_generation import HELLO
from tests.support.clock import wait_until, within
from tests.support.live import run_to_exit

pytestmark = pytest.mark.slow
SIGNALS = (
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Give the test process back what a master takes."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    become_subreaper(is_wanted=False)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
async def loop_signals() -> AsyncIterator[None]:
    yield
    for number in SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)


def make_master(
    folder: Path, *binds: Address, app: str = "hello:web", workers: int = 1
) -> Master:
    (folder / "hello.py").write_text(HELLO)
    words = [app, f"--workers={workers}"]
    words += [f"--bind={format_address(bind)}" for bind in binds]
    live_settings = LiveSettings.read(look_for_sources(*words, folder=folder))
    loop, now = asyncio.get_running_loop(), time.monotonic()
    return Master(build_master(MasterState.begin(live_settings, now), None, loop))


@pytest.mark.usefixtures("loop_signals")
async def test_it_serves_until_term_and_ends_with_0(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    run = asyncio.create_task(make_master(tmp_path, TcpAddress("127.0.0.1", 0)).run())
    await wait_until(lambda: "event=ready" in caplog.text, 10)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await within(run, 10) == 0
    assert "event=listening hello:web on http://127.0.0.1:" in caplog.text
    assert "1 worker, a queue per slot, uvloop" in caplog.text


@pytest.mark.usefixtures("loop_signals")
async def test_a_kernel_that_does_not_steer_is_one_line_and_no_error(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("blazeio_supervisor.sockets.reuseport.steer", refuse)
    caplog.set_level("INFO", "blazeio")
    master = make_master(tmp_path, TcpAddress("127.0.0.1", 0), workers=2)
    run = asyncio.create_task(master.run())
    await wait_until(lambda: "event=not_steered" in caplog.text, 10)
    os.kill(os.getpid(), signal.SIGTTIN)
    await wait_until(lambda: "event=scaled" in caplog.text, 10)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await within(run, 10) == 0
    assert caplog.text.count("event=not_steered ") == 1


@pytest.mark.usefixtures("loop_signals")
async def test_an_action_that_fails_is_logged_and_the_service_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    master = make_master(tmp_path, TcpAddress("127.0.0.1", 0))
    run = asyncio.create_task(master.run())
    await wait_until(lambda: "event=ready" in caplog.text, 10)
    for group in master._state.listeners.groups:
        group.sockets.pop().close()  # so that no sibling can join it
    os.kill(os.getpid(), signal.SIGTTIN)
    await wait_until(
        lambda: (
            "event=action_failed a fault of the supervisor, at OpenSlot" in caplog.text
        ),
        10,
    )
    await wait_until(lambda: "event=worker_failed" in caplog.text, 10)
    assert not run.done()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await within(run, 10) == 0


@pytest.mark.usefixtures("loop_signals")
async def test_an_address_that_is_taken_ends_it_with_5(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "RETRY_FOR_S", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = TcpAddress("127.0.0.1", taken.getsockname()[1])
        code = await within(make_master(tmp_path, address).run(), 10)
    assert code == ExitCode.CANNOT_BIND
    assert f"is in use by pid {os.getpid()} " in caplog.text


@pytest.mark.usefixtures("loop_signals")
async def test_an_app_whose_own_address_is_taken_ends_it_with_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RETRY_FOR_S", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "there.py").write_text(
            f"import blazeio as io\nweb = io.App('127.0.0.1', {port})\n"
        )
        code = await within(make_master(tmp_path, app="there:web").run(), 10)
    assert code == ExitCode.CANNOT_BIND


@pytest.mark.usefixtures("loop_signals")
async def test_a_stop_before_anything_began_ends_it_with_0(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = TcpAddress("127.0.0.1", taken.getsockname()[1])
        run = asyncio.create_task(make_master(tmp_path, address).run())
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await within(run, 5) == 0


def make_crew(folder: Path, loop: asyncio.AbstractEventLoop) -> Components:
    live = LiveSettings.read(look_for_sources("app:web", folder=folder))
    return build_master(MasterState.begin(live, 0.0), None, loop)


def test_nothing_begins_by_it(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        components = make_crew(tmp_path, runner.get_loop())
        assert not components.state.listeners.is_bound
        components.facts.put_fact(ScaleAsked(change=1))
        runner.run(asyncio.sleep(0))
        assert not components.facts.is_settled  # nobody takes turns yet


def test_the_master_loads_neither_client_nor_gateways() -> None:
    """What only an app needs would be a tenth of its start, and of its memory."""
    heavy = ("blazeio.client", "blazeio.gateways", "blazeio.websocket", "websockets")
    code = (
        "import sys, blazeio_supervisor.master.components\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert run_to_exit(["python", "-c", code]).stdout == "[]\n"
