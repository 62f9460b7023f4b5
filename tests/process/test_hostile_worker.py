"""An app that was taken over, as another user than the master's."""

import os
import pwd
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.process.hostile import HOSTILE
from tests.process.service import Service, serialize_get
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, resolve
from tests.support.namespaces import let_everybody_read_python
from tests.support.peer import BlockingPeer
from tests.support.response import Response, parse_responses
from tests.support.users import need_root

pytestmark = pytest.mark.slow
GRACE_S = 2.0
MOST_S = 2.5
"""1 s when nothing else runs."""
FIGURES_S = 1.1
"""Figures are this old at most."""
MORE_FDS = 16
"""What a master may have open beyond what it had: of connections, of respawns."""

DEEDS = {
    "memory": [
        "nan_everywhere",
        "infinities_everywhere",
        "noise_everywhere",
        "beats_from_the_future",
        "sizes_of_memories",
    ],
    "messages": [
        "junk",
        "junk_then_death",
        "nothing",
        "giant",
        "deep",
        "ready_again",
        "words_of_a_forkserver",
        "orders_of_the_master",
        "failed_and_goes_on",
        "another_address",
        "forged_credentials",
    ],
    "descriptors": [
        "descriptors",
        "descriptors_that_linger",
        "shared_flags",
        "listeners_that_block",
        "every_stream_is_full",
        "channel_is_closed",
    ],
    "floods": ["flood", "flood_by_children", "flood_of_texts", "printing"],
    "others": [
        "leave_orphans",
        "words_of_siblings",
        "kill_siblings",
        "kill_forkserver",
        "trace_siblings",
    ],
}
LONG = pytest.mark.long


class HostileService(Service):
    """A service of root's whose app runs as nobody, and means harm.

    Attributes:
        metrics_port: Where the master itself answers.
    """

    metrics_port = 0
    address = ("", 0)

    def note_addresses(self) -> None:
        """Now: who holds the log's descriptor can write over all of it."""
        found = self.server.wait_for_log(r"event=metrics .*:(\d+)$")[0]
        self.metrics_port = int(found[1])
        self.address = self.server.host, self.server.port

    def get(self, path: str = "/", *fields: str, timeout_s: float = 5.0) -> Response:
        with BlockingPeer(*self.address, timeout_s=timeout_s) as peer:
            octets = peer.exchange(serialize_get(path, "Connection: close", *fields))
        (response,) = parse_responses(octets)
        return response

    def attack(self, deed: str) -> str:
        """Have a worker do it; what it answers, if it still can."""
        try:
            return self.get(f"/deed?{deed}").text
        except (OSError, AssertionError, EOFError):
            return ""

    def ask_master(self) -> str:
        with BlockingPeer("127.0.0.1", self.metrics_port, timeout_s=5.0) as peer:
            octets = peer.exchange(serialize_get("/metrics", "Connection: close"))
        (response,) = parse_responses(octets)
        assert response.status == 200
        return response.text

    def require_health(self, workers: int) -> None:
        """The master answers, and every worker serves, after a while."""

        ill_at = time.monotonic()

        def is_ok() -> bool:
            nonlocal ill_at
            if f"blazeio_workers_serving {workers}.0" not in self.ask_master():
                ill_at = time.monotonic()
            return time.monotonic() - ill_at > FIGURES_S

        block_until(is_ok, 30, "all serve")
        block_until(self._answers, 20, "an answer")

    def _answers(self) -> bool:
        """Whether one does; who means harm need not answer on its own queue."""
        try:
            return self.get(timeout_s=1.0).status == 200
        except (OSError, AssertionError, EOFError):
            return False

    def count_fds(self) -> int:
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def end(self) -> None:
        """TERM: all of it is over within the grace period and a second."""
        began_at = time.monotonic()
        self.server.signal(signal.SIGTERM)
        assert self.server.wait_exit() == 0
        took_s = time.monotonic() - began_at
        assert took_s < GRACE_S + scaled(MOST_S), self.server.log[-3000:]


Besiege = Callable[..., HostileService]


@pytest.fixture
def besiege(live_server: LiveServers, open_folder: Path) -> Iterator[Besiege]:
    need_root()
    started: list[HostileService] = []

    def start(*options: str, code: str = HOSTILE, workers: int = 3) -> HostileService:
        (open_folder / "app.py").write_text(code)
        nobody = pwd.getpwnam("nobody")
        for path in (open_folder, open_folder / "app.py"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        words = ["blazeio-supervisor", "app:web", "--user", "nobody"]
        words += ["--workers", str(workers), "--graceful-timeout", f"{GRACE_S:g}"]
        words += ["--metrics-bind", "127.0.0.1:0", "--bind", "127.0.0.1:0"]
        words += ["--canary-hold", "0", "--drain-idle", "0.2"]
        aside = open_folder / "aside"
        wrapped = let_everybody_read_python(resolve([*words, *options]), aside)
        server = live_server.start(wrapped, cwd=open_folder)
        service = HostileService(server, open_folder)
        service.wait_count(workers)
        service.server.wait_for_log("event=ready ")
        service.note_addresses()
        started.append(service)
        return service

    yield start
    for service in started:
        for process in service.server.group():
            process.kill()


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("memory", ()),
        pytest.param("messages", (), marks=LONG),
        pytest.param("descriptors", (), marks=LONG),
        pytest.param("floods", (), marks=LONG),
        pytest.param("others", (), marks=LONG),
        pytest.param("descriptors", ("--capture-output",), marks=LONG),
        pytest.param("floods", ("--capture-output",), marks=LONG),
    ],
)
def test_the_service_goes_on_and_ends(
    besiege: Besiege, kind: str, options: tuple[str, ...]
) -> None:
    service = besiege(*options)
    count = service.count_fds()
    for deed in DEEDS[kind]:
        service.attack(deed)
        service.ask_master()
    service.require_health(3)
    block_until(lambda: service.count_fds() <= count + MORE_FDS, 10, "descriptors")
    assert psutil.Process(service.server.pid).memory_info().rss < 200 * 2**20
    assert not re.search(r"blazeio_faults_total{.*} [1-9]", service.ask_master())
    assert "Exception in callback" not in service.server.log
    service.end()


def test_there_are_enough_of_them() -> None:
    assert sum(len(deeds) for deeds in DEEDS.values()) >= 20


@pytest.mark.long
def test_it_is_told_who_misbehaved_and_why(besiege: Besiege) -> None:
    service = besiege()
    pid = int(service.get().body)
    service.attack("junk")
    (found,) = service.server.wait_for_log(r"event=misbehaved (.*)")
    assert re.match(r"worker=\d slot=\d gen=1 pid=\d+: it is ended: it sent", found[1])
    service.require_health(3)
    assert 'blazeio_respawns_total{reason="misbehaved"} 1.0' in service.ask_master()
    assert pid


def test_nothing_of_roots_is_within_reach(besiege: Besiege) -> None:
    service = besiege()
    assert service.attack("be_root") == ""
    assert service.attack("type_for_root") == ""
    service.end()


@pytest.mark.long
@pytest.mark.parametrize(
    "deeds",
    [
        ("nothing_is_read",),
        pytest.param(("nan_everywhere", "nothing_is_read"), marks=LONG),
    ],
)
def test_one_that_refuses_to_end_is_killed_in_time(
    besiege: Besiege, deeds: tuple[str, ...]
) -> None:
    service = besiege(workers=1)
    for deed in deeds[:-1]:
        service.attack(deed)
        service.require_health(1)
    with service.server.connect() as peer:
        peer.send(serialize_get(f"/deed?{deeds[-1]}"))
        service.server.wait_for_log("event=blocked ")
        service.end()
