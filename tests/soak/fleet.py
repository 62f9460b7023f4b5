"""Three machines behind a proxy, under load: restarts, a cable, a master killed.

Each machine is a network namespace with a service of its own; nginx, HAProxy and Caddy
have the configurations of ``deploy/proxies``, with these machines in the place of
those.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.process.service import APP
from tests.soak.run import Run, wait_some
from tests.support.clock import block_until, scaled
from tests.support.live import resolve
from tests.support.namespaces import Network
from tests.support.programs import find_program
from tests.support.tree import REPOSITORY

MACHINES = (1, 2, 3)
PORT, PROBES, FRONT = 8001, 9001, 8080
RESTART_S = 0.5
"""Nobody waits longer when a machine is restarted;"""
CABLE_S = 6.0
"""How long a cable is pulled. HAProxy then asks another machine, what was asked before
too; nginx and Caddy do not take back what a machine was asked that says nothing.
"""
NGINX = """
worker_processes 1; error_log stderr; pid nginx.pid; daemon off; user root;
events {{ }}
http {{ access_log off; include {config}; }}
"""
OPTIONS = (
    "--workers",
    "2",
    "--drain-delay",
    "3",
    "--forwarded-allow-ips",
    "10.88.0.0/16",
)


@dataclass(frozen=True)
class Proxy:
    """A proxy and what starts it.

    Attributes:
        name: Of its program.
        file: Its configuration in ``deploy/proxies``.
        port: Where that listens.
        servers: The lines of it that name the machines.
        server: Makes such a line.
        vanished_s: The longest wait where a cable was pulled.
        words: Makes the arguments, of the path of the configuration.
    """

    name: str
    file: str
    port: int
    servers: str
    server: Callable[[int, str], str]
    vanished_s: float
    words: Callable[[Path], list[str]]


PROXIES = (
    Proxy(
        "haproxy",
        "haproxy.cfg",
        8081,
        r"(    server \w+ \S+ check.*\n)+",
        lambda number, at: f"    server m{number} {at}:{PORT} check port {PROBES}\n",
        CABLE_S - 1,
        lambda config: ["-db", "-f", str(config)],
    ),
    Proxy(
        "nginx",
        "nginx.conf",
        8080,
        r"(    server \S+:\d+ .*\n)+",
        lambda number, at: f"    server {at}:{PORT} max_fails=1 fail_timeout=5s;\n",
        CABLE_S + 3,
        lambda config: ["-p", str(config.parent), "-c", "main.conf", "-e", "stderr"],
    ),
    Proxy(
        "caddy",
        "Caddyfile",
        8082,
        r"(?<=reverse_proxy)( 127\S+)+",
        lambda number, at: f" {at}:{PORT}",
        CABLE_S + 3,
        lambda config: ["run", "--adapter", "caddyfile", "--config", str(config)],
    ),
)


class Fleet:
    """Three machines, a proxy before them, and visitors.

    Args:
        run: Has the folder.
        network: Of the machines.
        proxy: Which one.
    """

    def __init__(self, run: Run, network: Network, proxy: Proxy) -> None:
        self._network = network
        self._proxy = proxy
        self._folder = run.folder / proxy.name
        self._folder.mkdir()
        self._log = (self._folder / "log").open("wb")
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all of it; the visitors have begun when it returns."""
        for number in MACHINES:
            self.start_machine(number)
        config = self._write_config()
        program = find_program(self._proxy.name)
        command = ["env", f"HOME={self._folder}", program, *self._proxy.words(config)]
        self._processes[0] = self._popen(0, command)
        visitors = [sys.executable, "-m", "tests.soak.fleet_visitors", "127.0.0.1"]
        self._visitors = subprocess.Popen(
            self._network.on(0, *visitors, str(self._proxy.port)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=REPOSITORY,
        )
        # The first ones come before the proxy has looked at its machines.
        block_until(lambda: self.look()["failures"] == [], 30, "a proxy that serves")
        self.look()

    def _write_config(self) -> Path:
        text = (REPOSITORY / "deploy/proxies" / self._proxy.file).read_text()
        at = self._network.address
        lines = "".join(self._proxy.server(each, at(each)) for each in MACHINES)
        text, count = re.subn(self._proxy.servers, lines, text)
        assert count == 1, self._proxy.file
        text = text.replace("# health_", "health_")  # one port on all of them
        text = text.replace("/run/haproxy/", f"{self._folder}/")
        config = self._folder / self._proxy.file
        config.write_text(text)
        (self._folder / "main.conf").write_text(NGINX.format(config=config))
        return config

    def _popen(self, number: int, command: list[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._network.on(number, *command),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            start_new_session=True,
        )

    def start_machine(self, number: int) -> None:
        """Start the service of a machine, and wait until it is ready."""
        folder = self._folder / f"machine-{number}"
        folder.mkdir(exist_ok=True)
        (folder / "app.py").write_text(APP)
        at = self._network.address(number)
        words = ["blazeio-supervisor", "app:web", *OPTIONS, "--chdir", str(folder)]
        words += ["--bind", f"{at}:{PORT}", "--metrics-bind", f"{at}:{PROBES}"]
        words += ["--control", str(folder / "control.sock")]
        self._processes[number] = self._popen(number, resolve(words))
        asked = ["curl", "-sf", "-o", "/dev/null", f"http://{at}:{PROBES}/readyz"]
        block_until(
            lambda: not subprocess.call(self._network.on(0, *asked)), 30, "readiness"
        )

    def restart_machine(self, number: int) -> None:
        """End a service by TERM, as systemd does, and start it anew."""
        process = self._processes[number]
        process.terminate()
        assert process.wait(scaled(40)) == 0
        self.start_machine(number)

    def kill_master(self, number: int) -> None:
        """Kill a master; its workers end by themselves, and it is started anew."""
        process = self._processes[number]
        process.kill()
        process.wait()
        block_until(
            lambda: not is_group_alive(process.pid), 40, "the end of its workers"
        )
        self.start_machine(number)

    def set_cable(self, number: int, state: str) -> None:
        """Pull the cable of a machine, or plug it in: ``down`` or ``up``."""
        words = ["ip", "link", "set", f"link{number}", state]
        subprocess.run(self._network.on(0, *words), check=True)

    def look(self) -> dict[str, object]:
        """What the visitors have seen since the last look."""
        assert self._visitors.stdin is not None
        assert self._visitors.stdout is not None
        self._visitors.stdin.write(b"\n")
        self._visitors.stdin.flush()
        found: dict[str, object] = json.loads(self._visitors.stdout.readline())
        return found

    def end(self) -> None:
        """End everything at once."""
        if hasattr(self, "_visitors"):
            self._visitors.communicate()
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._log.close()


def is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def restart_and_break_machines(run: Run) -> None:
    """Behind each proxy: a rolling restart, a cable pulled, a master killed."""
    for proxy in PROXIES:
        with Network(len(MACHINES)) as network, serving(run, network, proxy) as fleet:
            for number in range(run.pick(3, 1)):
                run.say(f"{proxy.name}: rolling restart {number + 1}")
                for machine in MACHINES:
                    fleet.restart_machine(machine)
                    wait_some(1.0)
            judge(run, fleet, f"{proxy.name}: rolling restart", RESTART_S)
            for _ in range(run.pick(3, 1)):
                run.say(f"{proxy.name}: a master is killed")
                fleet.kill_master(2)
                wait_some(1.0)
            judge(run, fleet, f"{proxy.name}: a master killed", RESTART_S)
            for _ in range(run.pick(3, 1)):
                run.say(f"{proxy.name}: a cable is pulled")
                fleet.set_cable(3, "down")
                wait_some(CABLE_S)
                fleet.set_cable(3, "up")
                wait_some(4.0)
            judge(run, fleet, f"{proxy.name}: a cable pulled", proxy.vanished_s)


@contextlib.contextmanager
def serving(run: Run, network: Network, proxy: Proxy) -> Iterator[Fleet]:
    fleet = Fleet(run, network, proxy)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.end()


def judge(run: Run, fleet: Fleet, what: str, most_s: float) -> None:
    """Record what the visitors have seen of it."""
    wait_some(1.0)
    seen = fleet.look()
    failures, late = seen["failures"], seen["late"]
    assert isinstance(failures, list)
    assert isinstance(late, list)
    assert isinstance(seen["longest_s"], float)
    lost = f"{len(failures)} of {seen['answered']:,}"
    run.check(f"{what}: lost: 0", lost, holds=not failures)
    run.check_most(f"{what}: longest wait", seen["longest_s"], most_s, " s")
    for each in [*failures, *late][:8]:
        run.note(f"{what}: {each}")
