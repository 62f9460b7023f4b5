"""Several services of one user, in one container and in several of one network."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.process.service import APP
from tests.support.clock import block_until, scaled
from tests.support.live import resolve
from tests.support.namespaces import need_namespaces

pytestmark = pytest.mark.slow

NAME = f"shop-{os.getpid()}"
"""Other tests, and other users of this machine, have services of other names."""
COMMAND = ["blazeio-supervisor", "app:web", "--name", NAME, "--workers", "1"]


class Started:
    """A service, and those who ask from where it runs.

    Attributes:
        log: Where its log is.
    """

    def __init__(self, folder: Path, log: Path, *, is_contained: bool) -> None:
        self.log = log
        command = resolve([*COMMAND, "--bind", "127.0.0.1:0", "--canary-hold", "0"])
        wrap = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*(wrap if is_contained else []), *command], cwd=folder, stderr=file
            )
        self._is_contained = is_contained
        block_until(lambda: "event=ready" in log.read_text(), 20, log.read_text())

    @property
    def pid(self) -> int:
        """Of the master, as it is seen from here."""
        if not self._is_contained:
            return self.process.pid
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(path.read_text().split()[0])

    @property
    def own_pid(self) -> int:
        """The same, as it sees itself."""
        return int(re.findall(r"event=listening .*pid (\d+)", self.log.read_text())[0])

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A verb, where the service is (``docker exec``)."""
        inside = ["nsenter", f"--target={self.pid}", "--pid", "--mount", "--"]
        return run(*words, inside=inside if self._is_contained else [])

    def status(self) -> dict[str, object]:
        """What ``status`` says there."""
        done = self.ask("status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(
                signal.SIGKILL if self._is_contained else signal.SIGTERM
            )
        self.process.wait(scaled(10))


def run(*words: str, inside: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*inside, *resolve(["blazeio-supervisor", *words])],
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(20),
    )


@contextmanager
def started(folder: Path, count: int, *, is_contained: bool) -> Iterator[list[Started]]:
    (folder / "app.py").write_text(APP)
    with ExitStack() as stack:
        found = []
        for number in range(count):
            service = Started(
                folder, folder / f"{number}.log", is_contained=is_contained
            )
            stack.callback(service.end)
            found.append(service)
        yield found


@pytest.mark.long
def test_two_services_are_never_called_the_same(tmp_path: Path) -> None:
    with started(tmp_path, 2, is_contained=False) as (first, second):
        listed = run("status", inside=[])
        assert listed.returncode == 2
        for service, name in ((first, NAME), (second, f"{NAME}-2")):
            what = rf"--instance {service.pid} +pid {service.pid}  app:web  http\S+"
            assert re.search(rf"{what}, called {name}\n", listed.stderr)
            done = run("status", "--json", "--instance", name, inside=[])
            assert json.loads(done.stdout)["pid"] == service.pid
        assert f"called {NAME}-2, since " in second.log.read_text()
        # Whoever ends the first one twice never ends the second.
        for code in (0, 6):
            done = run("stop", "--instance", NAME, inside=[])
            assert done.returncode == code, done.stderr
        assert second.process.poll() is None
        done = run("stop", "--instance", f"{NAME}-2", inside=[])
        assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_in_containers_each_answers_for_itself(tmp_path: Path) -> None:
    need_namespaces("--fork", "--pid", "--mount-proc")
    with started(tmp_path, 3, is_contained=True) as services:
        found = [each.status() for each in services]
        assert [each["pid"] for each in found] == [each.own_pid for each in services]
        assert [each["name"] for each in found] == [NAME, f"{NAME}-2", f"{NAME}-3"]
        # The name that was asked for is good in its own container, whoever has it.
        first, second, third = services
        assert second.ask("status", "--instance", NAME).returncode == 0
        # From outside they are named, and none is meant that was not said.
        outside = run("stop", "--instance", NAME, inside=[])
        assert outside.returncode == 6
        assert f"{NAME} (pid {first.pid}, of another container)" in outside.stderr
        second.ask("stop", "--no-wait")  # the first process of a container takes all
        second.process.wait(scaled(20))
        done = third.ask("stop", "--instance", f"{NAME}-2")
        assert done.returncode == 6, done.stderr
        assert [each.process.poll() is None for each in (first, third)] == [True] * 2
        assert run("stop", "--instance", str(third.pid), inside=[]).returncode == 0
        assert first.process.poll() is None


SQUAT = """
import os, socket, sys
os.setresuid(4242, 4242, 4242)
held = []
for number in range(1, 130):
    sock, other = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    sock.bind(chr(0) + sys.argv[1] + (f"-{number}" if number > 1 else ""))
    sock.listen(0)
    other.connect(sock.getsockname())  # whoever connects now would wait
    held += [sock, other]
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.mark.long
def test_a_stranger_who_takes_every_name_hides_nothing(tmp_path: Path) -> None:
    need_namespaces("--mount")
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            SQUAT,
            f"blazeio/0/{NAME}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"taken\n"
        none = run("status", "--instance", NAME, inside=[])
        assert none.returncode == 6
        assert "no service is called" in none.stderr
        none = run("stop", "--control", f"@blazeio/0/{NAME}", inside=[])
        assert none.returncode == 1
        held = f"@blazeio/0/{NAME} is held by uid 4242, neither uid 0 nor root"
        assert none.stderr.endswith(f"{held}: not asked\n")
        with started(tmp_path, 1, is_contained=False) as (service,):
            (name,) = re.findall(rf"@blazeio/0/({NAME}\S+)", service.log.read_text())[
                :1
            ]
            assert "is taken by uid 4242" in service.log.read_text()
            for words in (["status"], ["stop"]):
                done = run(*words, "--instance", name, inside=[])
                assert done.returncode == 0, done.stderr
        stranger.communicate(b"")
