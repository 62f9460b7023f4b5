"""Fixtures for every room. No autouse but the leak guard."""

import asyncio
import compileall
import gc
import inspect
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from _pytest.cacheprovider import Cache
from hypothesis import HealthCheck, settings
from xprocess import XProcess

from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, iterate_open_files
from tests.support.tree import PACKAGES, REPOSITORY

pytest_plugins = ["blazeio.pytest_plugin"]
# A busy machine is no fault of what is tested.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """Have the library compiled once, and not by every service of a test.

    Where PYTHONDONTWRITEBYTECODE is set nobody else would: half of the time
    that a service takes to start was then its compilation (measured: 0.50 s
    of CPU for the master's modules, 0.27 s when compiled). The services keep
    the variable; this process does not, for pytest's rewritten tests.
    """
    sys.dont_write_bytecode = False
    if not config.pluginmanager.has_plugin("cacheprovider"):
        # `-p no:cacheprovider`: pytest-xprocess has its logs in that folder.
        kept = config.rootpath / ".pytest_cache"
        config.cache = Cache(kept, config, _ispytest=True)
    if not hasattr(config, "workerinput"):
        for folder in PACKAGES.values():
            compileall.compile_dir(REPOSITORY / folder, quiet=1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without Python's collector, which then leaves the tests alone.

    Thousands of them live until the end, and each process of xdist has them all:
    walked again and again they took 4.5 of 11.2 s of CPU (measured), and each
    ``gc.collect`` of a test walked them once more.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where every piece must be there, a skipped test is a failed run."""
    if "BLAZEIO_TEST_NO_SKIP" not in os.environ:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def leak_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """After an async test no task may be pending, after a process test no fd.

    After any test loggers are set up as before. Autouse, so that it is set up
    first and judges last, when the test's own fixtures have cleaned up.
    """
    before = describe_loggers()
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_pending_task")
    elif "process" in request.path.parts or "live_server" in request.fixturenames:
        request.getfixturevalue("same_open_files")
    yield
    after = describe_loggers()
    changed = {
        name: (was, after[name]) for name, was in before.items() if after[name] != was
    }
    assert not changed, f"loggers are set up otherwise after the test: {changed}"


def describe_loggers() -> dict[str, tuple[object, ...]]:
    """Describe how each logger that exists is set up, without pytest's handlers."""
    named = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(x for x in named if isinstance(x, logging.Logger))]
    return {
        logger.name: (
            logger.level,
            logger.disabled,
            logger.propagate,
            *(
                handler
                for handler in logger.handlers
                if type(handler).__module__ != "_pytest.logging"
            ),
        )
        for logger in loggers
    }


@pytest.fixture
async def no_pending_task() -> AsyncIterator[None]:
    """Fail when a task that the test started is still there at its end."""
    before = asyncio.all_tasks()
    yield
    deadline_at = asyncio.get_running_loop().time() + scaled(0.5)
    while left := asyncio.all_tasks() - before - {asyncio.current_task()}:
        if asyncio.get_running_loop().time() > deadline_at:
            break
        await asyncio.sleep(0)
    assert not left, f"tasks still pending after the test: {left}"


@pytest.fixture
def same_open_files(xprocess: XProcess) -> Iterator[None]:
    """Fail when the test process has more descriptors open than before."""
    before = list(iterate_open_files())
    yield
    try:
        block_until(lambda: len(list(iterate_open_files())) <= len(before), 1)
    except AssertionError:
        after = list(iterate_open_files())
        message = f"descriptors leaked: {after}, before the test: {before}"
        raise AssertionError(message) from None


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "aside").mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_servers(
    xprocess: XProcess, request: pytest.FixtureRequest
) -> Iterator[LiveServers]:
    """As ``live_server``, of all tests of a module: for those that only look."""
    servers = LiveServers(xprocess, request.node.name)
    yield servers
    servers.end_all()


@pytest.fixture
def live_server(
    xprocess: XProcess, request: pytest.FixtureRequest
) -> Iterator[LiveServers]:
    """Starts real servers: ``live_server.start(["blazeio-supervisor", ...])``."""
    if "open_folder" in request.fixturenames:
        # Made first, so that it is removed when nobody writes into it any more.
        request.getfixturevalue("open_folder")
    servers = LiveServers(xprocess, request.node.name)
    yield servers
    servers.end_all()
