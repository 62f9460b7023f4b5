"""`top` on a terminal of its own, with a real service."""

import contextlib
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.service import Service, start_service
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, resolve

pytestmark = pytest.mark.slow


class Top:
    """What it has drawn so far, and its keys."""

    def __init__(self, service: Service) -> None:
        self._own, self._theirs = os.openpty()
        termios.tcsetwinsize(self._theirs, (24, 80))
        self.before = termios.tcgetattr(self._theirs)
        place = str(service.folder / "c.sock")
        words = ["blazeio-supervisor", "top", "--interval", "0.2", "--control", place]
        self.process = subprocess.Popen(
            [*resolve(["setsid", "--ctty"]), *resolve(words)],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.set_blocking(self._own, False)
        self.said = ""

    def type(self, octets: bytes) -> None:
        os.write(self._own, octets)

    def wait_for(self, text: str) -> None:
        def is_said() -> bool:
            with contextlib.suppress(BlockingIOError):
                self.said += os.read(self._own, 65536).decode(errors="replace")
            return text in self.said

        block_until(is_said, 10, text)

    def wait_end(self) -> int:
        """Its exit code; the terminal must be as before."""
        code = self.process.wait(scaled(5))
        assert termios.tcgetattr(self._theirs) == self.before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)
        os.close(self._theirs)


@pytest.fixture
def service(live_server: LiveServers, tmp_path: Path) -> Service:
    return start_service(live_server, tmp_path, "--control", "c.sock")


@pytest.fixture
def top(service: Service) -> Iterator[Top]:
    made = Top(service)
    yield made
    made.close()


def test_it_shows_orders_and_leaves_the_terminal_as_it_was(
    service: Service, top: Top
) -> None:
    top.wait_for("2 serve")
    top.type(b"+")
    top.wait_for("one worker more? y: yes")
    top.type(b"y")
    top.wait_for("3 serve")
    top.type(b"q")
    assert top.wait_end() == 0
    service.wait_count(3)


def test_a_master_that_goes_away_is_said_to(service: Service, top: Top) -> None:
    top.wait_for("2 serve")
    service.server.signal(signal.SIGKILL)
    top.wait_for("the service is gone; waiting for it to come back")
    top.process.send_signal(signal.SIGTERM)
    assert top.wait_end() == 0
