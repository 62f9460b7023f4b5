"""The running program is kept by a child, and imported from."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio

from blazeio_supervisor.ipc.processes import list_children
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.upgrade import image, stage0
from blazeio_supervisor.master.upgrade.image import (
    ImageKeeper,
    KeptImage,
    find_replaced,
)
from tests.support.clock import within
from tests.support.live import run_to_exit


@pytest_asyncio.fixture
async def keeper() -> AsyncIterator[ImageKeeper]:
    made = ImageKeeper(Reaper(asyncio.get_running_loop()), uses_it=False)
    yield made
    for fd in made.image.list_fds() if made.image else []:
        os.close(fd)


def list_archived(kept: KeptImage) -> set[str]:
    with (
        open(f"/proc/self/fd/{kept.archive_fd}", "rb") as file,
        zipfile.ZipFile(file) as archive,
    ):
        return {name.removesuffix("c") for name in archive.namelist()}


async def test_a_child_keeps_it_and_ends(keeper: ImageKeeper) -> None:
    before = list_children(os.getpid())
    await keeper.wait()
    assert keeper.image is not None
    names = list_archived(keeper.image)
    assert f"{stage0.ENTRY.replace('.', '/')}.py" in names
    assert "psutil._psutil_linux" in keeper.image.extensions
    assert not any(os.get_inheritable(fd) for fd in keeper.image.list_fds())
    assert list_children(os.getpid()) == before


def test_a_file_that_was_replaced_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_at = time.time()
    assert find_replaced(began_at) == ""
    path = tmp_path / "new.py"
    module = ModuleType("blazeio_supervisor.new")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert find_replaced(began_at) == str(path)  # it is gone
    path.touch()
    os.utime(path, (0, 0))  # as installers do
    assert find_replaced(path.stat().st_ctime - 0.1) == str(path)
    assert find_replaced(path.stat().st_ctime) == ""
    module.__file__ = "/proc/self/fd/999/blazeio_supervisor/new.py"
    assert find_replaced(began_at) == ""


async def test_the_end_of_the_service_is_no_failure(
    keeper: ImageKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.begin()
    (child,) = set(list_children(os.getpid()))
    keeper.cancel()
    os.kill(child, signal.SIGKILL)
    await keeper.wait()
    assert keeper.image is None
    assert not caplog.records


async def test_it_is_kept_once(keeper: ImageKeeper) -> None:
    await keeper.wait()
    kept = keeper.image
    keeper.begin()
    await keeper.wait()
    assert keeper.image is kept


async def test_a_child_that_is_killed_is_a_line_in_the_log(
    keeper: ImageKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    before = list_children(os.getpid())
    keeper.begin()
    (child,) = set(list_children(os.getpid())) - {*before}
    os.kill(child, signal.SIGKILL)
    await keeper.wait()
    if keeper.image is None:  # else it was faster
        assert "the process that keeps it ended with status -9" in caplog.text


async def test_an_interpreter_that_cannot_be_opened_is_a_line_in_the_log(
    keeper: ImageKeeper,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    master, really_open = os.getpid(), image.open_interpreter

    def refuse() -> int:
        if os.getpid() != master:  # the child that makes the image has room
            return really_open()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(image, "open_interpreter", refuse)
    await within(keeper.wait(), 20)
    assert keeper.image is None
    assert "`upgrade` will refuse: Too many open files" in caplog.text
    assert os.listdir("/proc/self/fd") == before


@contextlib.contextmanager
def leave_descriptors(count: int) -> Iterator[None]:
    """No more than so many can be opened (RLIMIT_NOFILE)."""
    made = [os.open("/", os.O_PATH) for _ in range(count + 1)]  # the lowest numbers
    for fd in made:
        os.close(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (made[count], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_descriptors_nothing_is_begun(
    keeper: ImageKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    with leave_descriptors(1):
        await keeper.wait()
    assert keeper.image is None
    assert "`upgrade` will refuse: Too many open files" in caplog.text


async def test_descriptors_that_do_not_arrive_are_a_line_in_the_log(
    keeper: ImageKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.begin()
    before = os.listdir("/proc/self/fd")
    with leave_descriptors(1):
        await keeper.wait()
    assert keeper.image is None
    assert "`upgrade` will refuse: too many open files: see `ulimit -n`" in caplog.text
    assert len(os.listdir("/proc/self/fd")) < len(before)  # the channel is closed


async def test_what_cannot_be_imported_is_a_line_in_the_log(
    keeper: ImageKeeper,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(image, "LATER", ("no.such.module",))
    await keeper.wait()
    assert keeper.image is None
    assert (
        "event=no_upgrade cannot keep the running program, so `upgrade` will refuse: "
        "ModuleNotFoundError: No module named 'no'" in caplog.text
    )


async def test_a_process_that_cannot_be_forked_is_a_line_in_the_log(
    keeper: ImageKeeper,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    await keeper.wait()
    assert keeper.image is None
    assert "`upgrade` will refuse: Resource temporarily unavailable" in caplog.text
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


IMPORTS = """
import asyncio, sys
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.master.upgrade.image import ImageKeeper, find_replaced

async def main():
    await ImageKeeper(Reaper(asyncio.get_running_loop())).wait()
    for name in NAMES:
        assert name not in sys.modules, name
    for name in NAMES:
        __import__(name)
        print(sys.modules[name].__spec__.origin)

NAMES = sys.argv[1:]
asyncio.run(main())
"""


def test_what_is_imported_later_comes_from_the_image() -> None:
    """Modules, C extensions, and what else of the standard library they need."""
    names = ["psutil", "psutil._psutil_linux", "blazeio.app.app", "resource"]
    done = run_to_exit([sys.executable, "-c", IMPORTS, *names])
    assert done.returncode == 0, done.stderr
    origins = done.stdout.split()
    assert len(origins) == len(names)
    assert all(each.startswith("/proc/self/fd/") for each in origins), origins
