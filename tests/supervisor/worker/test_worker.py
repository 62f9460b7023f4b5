import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from blazeio_supervisor.ipc.messages import (
    Address,
    Failed,
    Listen,
    ListenerInfo,
    LoopName,
    Ready,
    ReopenLogs,
)
from tests.supervisor.worker.lone_generation import (
    HELLO,
    LoneGeneration,
    make_listener,
)
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


def ask(listener: socket.socket, path: str = "/") -> bytes:
    host, port = listener.getsockname()
    with BlockingPeer(host, port) as peer:
        request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"
        return peer.exchange(request.encode())


@vary("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("app", "preload"),
    [("hello:web", True), ("hello:web", False), ("hello.py", True)],
    ids=["forked", "imported", "script"],
)
def test_an_app_is_served_from_the_listener_of_the_slot(
    folder: Path, app: str, preload: bool, loop: str
) -> None:
    with (
        make_listener() as listener,
        LoneGeneration(
            folder,
            app,
            preload=preload,
            loop="uvloop" if loop == "uvloop" else "asyncio",
        ) as generation,
    ):
        worker = generation.fork_ready([listener])
        assert ask(listener).endswith(f"\r\n\r\n{worker.pid}".encode())
        title = psutil.Process(worker.pid).cmdline()[0]
        assert title == f"blazeio: worker 0 gen 1 [{app}]"


CHOOSES_ASYNCIO = """
import asyncio, blazeio as io
io.use_loop("asyncio")
web = io.App()

@web.add_route
async def tell(r, route="/"):
    await io.Deliver.text(r, type(asyncio.get_running_loop()).__module__)
"""


@vary("preload", [True, False], ids=["forked", "imported"])
@pytest.mark.parametrize(
    ("typed", "package"),
    [(None, b"asyncio"), ("asyncio", b"asyncio"), ("uvloop", b"uvloop")],
)
def test_the_loop_of_the_command_line_wins_over_the_choice_of_the_app(
    folder: Path, preload: bool, typed: LoopName | None, package: bytes
) -> None:
    (folder / "chooses.py").write_text(CHOOSES_ASYNCIO)
    with (
        make_listener() as listener,
        LoneGeneration(folder, "chooses:web", preload=preload, loop=typed) as one,
    ):
        one.fork_ready([listener])
        content = ask(listener).partition(b"\r\n\r\n")[2]
        assert content.partition(b".")[0] == package


def test_a_worker_imports_the_app_when_the_forkserver_did_not(folder: Path) -> None:
    code = "import os, blazeio as io\nopen('imported', 'a').write(f'{os.getpid()} ')\n"
    (folder / "tells.py").write_text(code + "web = io.App()\n")
    with (
        make_listener() as listener,
        LoneGeneration(folder, "tells:web", preload=False) as generation,
    ):
        pids = [generation.fork_ready([listener]).pid for _ in range(2)]
        imported = (folder / "imported").read_text().split()
        assert imported == [str(pid) for pid in pids]


@pytest.mark.parametrize("app", ["hello.py", "hello:web"])
def test_without_a_listener_it_says_the_address_and_waits(
    folder: Path, app: str
) -> None:
    with (
        make_listener() as listener,
        LoneGeneration(folder, app, preload=False) as generation,
    ):
        worker = generation.fork([])
        assert worker.channel.hear(Address) == Address("127.0.0.1", 8000)
        worker.channel.send(Listen((ListenerInfo(),)), [listener])
        worker.channel.hear(Ready)
        assert str(worker.pid).encode() in ask(listener)


def test_told_to_reopen_its_logs_before_there_are_any_it_goes_on_waiting(
    folder: Path,
) -> None:
    with make_listener() as listener, LoneGeneration(folder, "hello.py") as generation:
        worker = generation.fork([])
        worker.channel.hear(Address)
        worker.channel.send(ReopenLogs())
        worker.channel.send(Listen((ListenerInfo(),)), [listener])
        worker.channel.hear(Ready)
        assert str(worker.pid).encode() in ask(listener)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("", 4, "run.py ended without calling web.runner()"),
        ("1 / 0", 4, "run.py failed: ZeroDivisionError: division by zero (run.py:1)"),
        ("raise SystemExit(0)", 4, "run.py exited before web.runner(): SystemExit: 0"),
        ("import sys; sys.exit('bye')", 4, "SystemExit: bye"),
        (
            "import blazeio as io\nweb = io.App()\n@web.on_start\nasync def start():\n"
            "    raise OSError('no database')\ntry:\n    web.runner()\n"
            "except BaseException:\n    pass\n",
            3,
            "run.py failed to start: OSError: no database (run.py:5)",
        ),
    ],
    ids=["no runner", "raises", "exits", "exits with a word", "on_start"],
)
def test_a_script_that_does_not_get_so_far_is_a_failed_boot(
    folder: Path, code: str, status: int, reason: str
) -> None:
    (folder / "run.py").write_text(code)
    with make_listener() as listener, LoneGeneration(folder, "run.py") as generation:
        worker = generation.fork([listener])
        failed = worker.channel.hear(Failed)
        assert failed.code == status
        assert reason in failed.reason
        assert worker.wait_exit() == status


def test_a_missing_script_is_not_importable(folder: Path) -> None:
    with make_listener() as listener, LoneGeneration(folder, "none.py") as generation:
        worker = generation.fork([listener])
        assert "no such file: none.py" in worker.channel.hear(Failed).reason
        assert worker.wait_exit() == 4


def test_a_module_that_a_worker_cannot_import_is_a_failed_boot(folder: Path) -> None:
    with (
        make_listener() as listener,
        LoneGeneration(folder, "none:web", preload=False) as generation,
    ):
        worker = generation.fork([listener])
        assert "no module named 'none'" in worker.channel.hear(Failed).reason
        assert worker.wait_exit() == 4


@pytest.mark.parametrize("last", ["", "import sys; sys.exit(7)"])
def test_what_a_script_does_after_runner_is_done(folder: Path, last: str) -> None:
    (folder / "run.py").write_text(
        "import blazeio as io\nweb = io.App()\nweb.runner()\n"
        f"open('after', 'w').close()\n{last}\n"
    )
    with make_listener() as listener, LoneGeneration(folder, "run.py") as generation:
        worker = generation.fork_ready([listener])
        worker.channel.close()
        assert worker.wait_exit() == 0
        assert (folder / "after").exists()


def test_setup_on_the_loop_of_the_worker_works_in_a_script(folder: Path) -> None:
    (folder / "run.py").write_text(
        "import asyncio, blazeio as io\n"
        "web = io.App()\n"
        "class Site:\n"
        "    async def _late(self, r):\n"
        "        await io.Deliver.text(r, 'from a class')\n"
        "async def setup():\n"
        "    await asyncio.sleep(0)\n"
        "    await web.append_class_routes(Site())\n"
        "io.loop.run_until_complete(setup())\n"
        "web.runner()\n"
    )
    with make_listener() as listener, LoneGeneration(folder, "run.py") as generation:
        generation.fork_ready([listener])
        assert ask(listener, "/late").endswith(b"from a class")


def test_a_booting_worker_is_ended_by_term(folder: Path) -> None:
    code = "import blazeio as io, time\nopen('began', 'w').close()\ntime.sleep(60)\n"
    (folder / "sleeps.py").write_text(code)
    with (
        make_listener() as listener,
        LoneGeneration(folder, "sleeps.py") as generation,
    ):
        worker = generation.fork([listener])
        worker.signal(signal.SIGTERM)
        assert worker.wait_exit() == -signal.SIGTERM


def test_it_dies_with_a_master_that_dies_before_it_serves(folder: Path) -> None:
    with LoneGeneration(folder, "hello.py") as generation:
        worker = generation.fork([])
        worker.channel.hear(Address)
        worker.channel.close()
        assert worker.wait_exit() == 0
        assert os.getppid() > 0


def test_a_worker_may_be_bound_to_one_cpu(folder: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    with make_listener() as listener, LoneGeneration(folder, cpus=(cpu,)) as generation:
        worker = generation.fork_ready([listener])
        assert os.sched_getaffinity(worker.pid) == {cpu}
        assert os.sched_getaffinity(generation.pid) == os.sched_getaffinity(0)


def test_what_is_no_factory_is_told_by_who_loads_it(folder: Path) -> None:
    with LoneGeneration(folder, is_factory=True) as generation:
        failed = generation.channel.hear(Failed)
        assert failed.code == 4
        assert "hello:web is an app, and no function that makes one" in failed.reason
