"""In a control group whose limit holds little more than the service."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    read_status,
    start_service,
)
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until
from tests.support.live import LiveServers, resolve

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
MOUNT = Path("/sys/fs/cgroup/memory")
WORKERS = 4
LARGE = APP + (
    "\nheap = []\n"
    "@web.on_start\n"
    "def fill():\n"
    "    heap.append(b'x' * (150 << 20))\n"
    "\n@web.add_route\n"
    "async def die(r, route='/die'):\n"
    "    heap.append(b'x' * (4000 << 20))\n"
)


class Group:
    """A control group of version 1, for one service."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def wrap(self, *words: str) -> list[str]:
        """Return a command that runs these words within it."""
        enter = f'echo $$ > {self.folder}/cgroup.procs; exec "$@"'
        return ["sh", "-c", enter, "sh", *resolve(words)]

    def limit(self, size: int) -> None:
        """Bound what is in use now, without what was read of files."""
        (self.folder / "memory.force_empty").write_text("0")
        (self.folder / "memory.limit_in_bytes").write_text(str(size))

    @property
    def used(self) -> int:
        return int((self.folder / "memory.usage_in_bytes").read_text())

    @property
    def oom_kills(self) -> int:
        text = (self.folder / "memory.oom_control").read_text()
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        assert found is not None, text
        return int(found[1])


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    try:
        made = Group(MOUNT / f"blazeio-{os.getpid()}-{request.node.name[:20]}")
    except OSError as error:
        pytest.skip(f"no control group can be made: {error.strerror}")
    yield made
    # After the service: ``live_server`` ends before a fixture that came first.
    block_until(lambda: not (made.folder / "cgroup.procs").read_text(), 10)
    made.folder.rmdir()


def start(
    group: Group, live_server: LiveServers, folder: Path, *options: str
) -> Service:
    return start_service(
        live_server,
        folder,
        "--control",
        "c.sock",
        *options,
        code=LARGE,
        workers=WORKERS,
        wrap=group.wrap,
    )


def wait_until_measured(service: Service) -> None:
    """Each worker is measured every two seconds."""
    block_until(
        lambda: all(each["own_bytes"] for each in read_status(service)["workers"]),
        60,
    )


@pytest.mark.parametrize(
    "reloads",
    [
        pytest.param(2, marks=pytest.mark.long),
        pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
    ids=["some", "many"],
)
def test_reloads_where_no_worker_fits_beside_the_others_kill_nobody(
    group: Group, live_server: LiveServers, tmp_path: Path, reloads: int
) -> None:
    service = start(group, live_server, tmp_path)
    wait_until_measured(service)
    group.limit(group.used + 130 * MIB)  # 1.2 times as much
    with StrictClients(service.server.host, service.server.port) as clients:
        for generation in range(2, 2 + reloads):
            service.reload(generation)
            wait_until_measured(service)
    assert group.oom_kills == 0, service.server.log
    assert not clients.failures
    made = service.server.log.count("event=making_room")
    assert made >= reloads, service.server.log
    assert "MiB of its own: this one ends before its successor starts" in (
        service.server.log
    )


@pytest.mark.long
def test_where_there_is_memory_enough_nobody_has_to_make_room(
    group: Group, live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(group, live_server, tmp_path)
    group.limit(group.used + 900 * MIB)
    service.reload(2)
    assert "event=making_room" not in service.server.log


def test_a_worker_killed_for_lack_of_memory_ends_the_service_if_that_is_wanted(
    group: Group, live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(group, live_server, tmp_path, "--exit-on-oom")
    group.limit(group.used + 300 * MIB)
    with pytest.raises(AssertionError, match="the server ended"):
        service.get("/die")
    assert service.server.wait_exit() == 1
    assert re.search(
        r"event=stopping the kernel has killed a worker: out of memory .--exit-on-oom.",
        service.server.log,
    )
