"""The playbook, over three machines in namespaces behind HAProxy, under load."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clock import block_until, scaled
from tests.support.live import LiveServer, LiveServers
from tests.support.namespaces import Network
from tests.support.programs import find_program
from tests.support.tree import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]
DEPLOY = REPOSITORY / "deploy"
BIN = Path(sys.executable).parent
APP = """
import blazeio as io

web = io.App()
count = iter(range(10**9))

@web.add_route
async def home(r, route="/"):
    {fault}
    await io.Deliver.text(r, "{release}")
"""
ONE_OF_FIVE = "assert next(count) % 5"
PORT, PROBES, FRONT = 8000, 9000, 8081
OPTIONS = [
    *("--workers", "2", "--forwarded-allow-ips", "10.88.0.0/16"),
    *("--drain-idle", "0.2", "--canary-hold", "8"),
    *("--rollback-5xx", "0.05", "--rollback-min-requests", "20"),
]
RELEASES = ("one", "two", "three")


class Site:
    """Three machines with the release ``one``, a proxy before them, and visitors."""

    def __init__(
        self, live_server: LiveServers, network: Network, folder: Path
    ) -> None:
        self._live_server, self._network, self._folder = live_server, network, folder
        self.machines = [self._start_machine(number) for number in (1, 2, 3)]
        (folder / "haproxy.cfg").write_text(self._write_proxy())
        proxy = [find_program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]
        live_server.start(network.on(0, *proxy), ready="")
        self._inventory = folder / "inventory.yaml"
        self._inventory.write_text(yaml.safe_dump(self._write_inventory()))
        block_until(lambda: self.states() == ["UP"] * 3)
        self._counts = folder / "counts"
        visitors = [sys.executable, "-m", "tests.deploy.visitors", "127.0.0.1"]
        command = network.on(0, *visitors, str(FRONT), str(self._counts))
        self._visitors = live_server.start(command, ready="")
        block_until(lambda: self.seen()[200, "one"] >= 100)

    def _start_machine(self, number: int) -> LiveServer:
        """The service of one machine, in the folder that the link ``current`` names."""
        site = self._folder / f"web{number}"
        (site / "releases" / "one").mkdir(parents=True)
        (site / "releases" / "one" / "app.py").write_text(write_app("one"))
        (site / "current").symlink_to("releases/one")
        address = self._network.address(number)
        words = [str(BIN / "blazeio-supervisor"), "app:web", *OPTIONS]
        words += [
            "--bind",
            f"{address}:{PORT}",
            "--metrics-bind",
            f"{address}:{PROBES}",
        ]
        words += ["--control", str(site / "control.sock")]
        return self._live_server.start(
            self._network.on(number, *words),
            cwd=site / "current",
            env={"PWD": str(site / "current")},
        )

    def _write_proxy(self) -> str:
        """The configuration of two machines, for these three."""
        text = (DEPLOY / "proxies/haproxy.cfg").read_text()
        text = text.replace("/run/haproxy/", f"{self._folder}/")
        lines = [
            f"    server web{each} {self._network.address(each)}:{PORT} "
            f"check port {PROBES}"
            for each in (1, 2, 3)
        ]
        text, count = re.subn(r"(    server .*\n)+", "\n".join(lines) + "\n", text)
        assert count == 1
        return text

    def _write_inventory(self) -> dict[str, Any]:
        """The inventory as it is, with these machines instead of those."""
        text = (DEPLOY / "ansible/inventory.yaml").read_text()
        inventory: dict[str, Any] = yaml.safe_load(text)
        machines = {"proxy1": 0, "web1": 1, "web2": 2, "web3": 3}
        hosts = {**inventory["proxies"]["hosts"], **inventory["web"]["hosts"]}
        assert hosts.keys() == machines.keys()
        for name, host in hosts.items():
            python = self._folder / f"python-{name}"
            words = self._network.on(machines[name], sys.executable)
            python.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
            python.chmod(0o755)
            host["ansible_connection"] = "local"
            host["ansible_python_interpreter"] = str(python)
            host["ansible_host"] = self._network.address(machines[name])
        variables = inventory["web"]["vars"]
        given = {
            "site": f"{self._folder}/{{{{ inventory_hostname }}}}",
            "blazeio": str(BIN / "blazeio-supervisor"),
            "control": "{{ site }}/control.sock",
            "proxy_socket": f"{self._folder}/admin.sock",
            "trial_weight": "50%",  # of few requests
        }
        assert given.keys() <= variables.keys()
        variables |= given
        return inventory

    def states(self) -> list[str]:
        """How the proxy sees each machine."""
        asked = subprocess.run(
            ["socat", "-t", "5", "stdio", f"unix-connect:{self._folder}/admin.sock"],
            input="show stat shop 4 -1\n",
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [line.split(",") for line in asked.stdout.splitlines()]
        return [row[17] for row in rows if len(row) > 17 and row[0] == "shop"]

    def roll(self, release: Path) -> subprocess.CompletedProcess[str]:
        """Play the playbook."""
        play = [str(BIN / "ansible-playbook"), "-i", str(self._inventory)]
        home = {
            "HOME": str(self._folder),
            "ANSIBLE_HOME": str(self._folder / "ansible"),
        }
        return subprocess.run(
            [*play, str(DEPLOY / "ansible/roll.yaml"), "-e", f"release={release}"],
            env={**os.environ, **home, "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"},
            timeout=scaled(240),
            capture_output=True,
            text=True,
            check=False,
        )

    def seen(self) -> Counter[tuple[int, str]]:
        """What the visitors were answered so far, by status and body."""
        if not self._counts.exists():
            return Counter()
        rows = json.loads(self._counts.read_text())
        return Counter({(status, body): count for status, body, count in rows})

    def end_visitors(self) -> Counter[tuple[int, str]]:
        """Wait for the last answer; return all that they were answered."""
        self._visitors.signal(signal.SIGTERM)
        assert self._visitors.wait_exit() == 0
        return self.seen()

    def links(self) -> list[str]:
        """The release that each machine would load next."""
        return [
            os.readlink(self._folder / f"web{each}" / "current").split("/")[-1]
            for each in (1, 2, 3)
        ]


def write_app(release: str, fault: str = "pass") -> str:
    return APP.format(release=release, fault=fault)


def pack(folder: Path, release: str, code: str) -> Path:
    """A release as it is handed to the playbook."""
    made = folder / f"{release}.tar.gz"
    with tarfile.open(made, "w:gz") as archive:
        entry = tarfile.TarInfo("app.py")
        entry.size, entry.mode = len(code), 0o644
        archive.addfile(entry, BytesIO(code.encode()))
    return made


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(3) as made:
        yield made


@pytest.fixture
def site(network: Network, live_server: LiveServers, tmp_path: Path) -> Iterator[Site]:
    made = Site(live_server, network, tmp_path)
    yield made
    for machine in made.machines:
        machine.signal(signal.SIGINT)  # which waits for nobody


def test_a_release_reaches_all_machines_and_nobody_sees_it(
    site: Site, tmp_path: Path
) -> None:
    done = site.roll(pack(tmp_path, "two", write_app("two")))
    assert done.returncode == 0, done.stdout
    assert site.links() == ["two"] * 3
    assert site.states() == ["UP"] * 3
    before = site.seen()
    block_until(lambda: site.seen()[200, "two"] > before[200, "two"] + 100)
    seen = site.end_visitors()
    assert {status for status, _ in seen} == {200}, seen
    assert seen[200, "one"] == before[200, "one"], "somebody serves the old release yet"


def test_bad_code_reaches_one_machine_which_stays_out_of_the_proxy(
    site: Site, tmp_path: Path
) -> None:
    done = site.roll(pack(tmp_path, "two", write_app("two", ONE_OF_FIVE)))
    assert done.returncode == 2, done.stdout
    told = " ".join(done.stdout.split())
    assert "web1 is left out of the proxy" in told
    assert "5xx: " in told
    assert "web2" not in done.stdout.partition("PLAY RECAP")[2]
    assert site.links() == ["one"] * 3
    assert site.states() == ["DRAIN", "UP", "UP"]
    before = site.seen()
    block_until(lambda: site.seen()[200, "one"] > before[200, "one"] + 100)
    seen = site.seen()
    assert seen[200, "two"] == before[200, "two"], "it is asked yet"
    bad = seen[500, ""]
    assert 0 < bad < 0.05 * seen.total()
    assert {status for status, _ in seen} == {200, 500}, seen
    # Mended code is rolled over all of them, the one that was left out first.
    again = site.roll(pack(tmp_path, "three", write_app("three")))
    assert again.returncode == 0, again.stdout
    assert site.states() == ["UP"] * 3
    seen = site.end_visitors()
    assert (seen[500, ""], {status for status, _ in seen}) == (bad, {200, 500})
