import os
import re
from pathlib import Path

import psutil
import pytest

from blazeio_supervisor.ipc.messages import (
    Failed,
    Loaded,
    Overrides,
    Unsafe,
)
from tests.supervisor.worker.lone_generation import (
    HELLO,
    LoneGeneration,
    make_listener,
)
from tests.support.clock import block_until

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


def test_the_address_of_the_app_is_said_with_loaded(folder: Path) -> None:
    with LoneGeneration(folder) as generation:
        assert generation.channel.hear(Loaded) == Loaded("127.0.0.1", 8000)


@pytest.mark.parametrize(("app", "preload"), [("hello:web", False), ("hello.py", True)])
def test_what_each_worker_loads_itself_has_no_address_yet(
    folder: Path, app: str, preload: bool
) -> None:
    with LoneGeneration(folder, app, preload=preload) as generation:
        assert generation.channel.hear(Loaded) == Loaded(None)


def test_a_process_is_titled_by_its_generation(folder: Path) -> None:
    with LoneGeneration(folder) as generation:
        generation.channel.hear(Loaded)
        title = psutil.Process(generation.pid).cmdline()[0]
        assert title == "blazeio: forkserver gen 1"


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("web = 1 / 0\n", 4, "broken failed to import: ZeroDivisionError"),
        ("", 4, "module 'broken' has no attribute 'web'"),
        (
            "import blazeio as io\nweb = io.App()\nweb.runner()\n",
            4,
            "runner() was called while the module was imported",
        ),
    ],
)
def test_an_app_that_cannot_be_had_ends_it_with_the_reason(
    folder: Path, code: str, status: int, reason: str
) -> None:
    (folder / "broken.py").write_text(code)
    with LoneGeneration(folder, "broken:web") as generation:
        failed = generation.channel.hear(Failed)
        assert failed.code == status
        assert reason in failed.reason
        assert generation.forkserver.wait_exit() == status


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        (
            "import threading\n"
            "threading.Thread(target=threading.Event().wait, daemon=True, name='t')"
            ".start()\n",
            # Python 3.13 tells where, 3.11 does not.
            r"the thread 't' is running( \(unsafe\.py:4\))?",
        ),
        (
            "import socket\nkept = socket.socket()\n",
            r"a socket is open \(unsafe\.py:4\)",
        ),
        ("loop = io.loop\n", r"an event loop was made \(Loop\) \(unsafe\.loop\)"),
    ],
    ids=["thread", "socket", "loop"],
)
def test_an_import_that_cannot_be_forked_is_reported(
    folder: Path, code: str, finding: str
) -> None:
    (folder / "unsafe.py").write_text(f"import blazeio as io\nweb = io.App()\n{code}")
    with LoneGeneration(folder, "unsafe:web") as generation:
        (found,) = generation.channel.hear(Unsafe).findings
        assert re.fullmatch(finding, found)
        assert generation.forkserver.wait_exit() == 0


def test_it_works_in_the_folder_of_the_service(folder: Path) -> None:
    code = "import os, blazeio as io\nweb = io.App(host=os.getcwd())\n"
    (folder / "place.py").write_text(code)
    with LoneGeneration(folder, "place:web") as generation:
        assert generation.channel.hear(Loaded).host == os.path.realpath(folder)


def test_a_folder_that_is_gone_is_a_reason(folder: Path) -> None:
    with LoneGeneration(folder / "gone") as generation:
        failed = generation.channel.hear(Failed)
        assert failed.reason == f"cannot enter {folder}/gone: No such file or directory"
        assert generation.forkserver.wait_exit() == 4


def test_what_the_import_left_for_the_exit_runs_once_in_the_process_that_imported(
    folder: Path,
) -> None:
    (folder / "leaves.py").write_text(
        "import atexit, blazeio as io\n"
        "web = io.App()\n"
        "atexit.register(lambda: open('ended', 'a').write('x'))\n"
    )
    with LoneGeneration(folder, "leaves:web") as generation:
        with make_listener() as listener:
            worker = generation.fork_ready([listener])
        worker.channel.close()
        assert worker.wait_exit() == 0
        assert not (folder / "ended").exists()
        generation.channel.close()
        assert generation.forkserver.wait_exit() == 0
        assert (folder / "ended").read_text() == "x"


def test_memory_of_the_import_is_shared(folder: Path) -> None:
    (folder / "large.py").write_text(
        "import blazeio as io\n"
        "web = io.App()\n"
        "kept = [{'number': n} for n in range(200_000)]\n"
    )
    with (
        make_listener() as listener,
        LoneGeneration(folder, "large:web") as generation,
    ):
        worker = generation.fork_ready([listener])
        block_until(lambda: worker.row.read().beat_at > 0)
        own = psutil.Process(worker.pid).memory_full_info().uss
        whole = psutil.Process(generation.pid).memory_info().rss
        assert whole > 60_000_000
        assert own < whole / 4


def test_certificates_of_the_command_line_come_before_the_app(folder: Path) -> None:
    (folder / "hello.py").write_text("open('imported', 'w').close()")
    overrides = Overrides(tls={"certfile": "none.pem"})
    with LoneGeneration(folder, overrides=overrides) as generation:
        failed = generation.channel.hear(Failed)
        assert failed.reason == "TLS certfile none.pem: no such file"
        assert generation.forkserver.wait_exit() == 2
    assert not (folder / "imported").exists()
