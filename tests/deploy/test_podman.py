"""The image, built and run by podman."""

import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.deploy.podman import BASE, IMAGE, LIMITS, Podman, why_not
from tests.deploy.test_proxies import find_ports
from tests.process.service import APP
from tests.support.clock import block_until, scaled

pytestmark = [
    pytest.mark.podman,
    pytest.mark.slow,
    pytest.mark.timeout(400),
]
NAME = "shop-1"
MOST_MIB = 50
"""What the image adds to its base."""


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if why_not():
        pytest.skip(why_not())
    made = Podman(tmp_path_factory.mktemp("podman"))
    try:
        made.build(APP)
        yield made
    finally:
        made.end()


class Shop:
    """A container that serves.

    Attributes:
        url: Of the app.
        probes: Of the metrics.
    """

    def __init__(self, podman: Podman) -> None:
        self.podman = podman
        port, probes = find_ports(2)
        self.url, self.probes = f"http://127.0.0.1:{port}", f"127.0.0.1:{probes}"
        environ = {
            "BLAZEIO_BIND": f"127.0.0.1:{port}",
            "BLAZEIO_METRICS_BIND": self.probes,
        }
        podman.start(NAME, "app:web", "--workers", "2", environ=environ)
        block_until(self.is_ready, 30, "readiness")

    def is_ready(self) -> bool:
        try:
            return bool(self.get(f"http://{self.probes}/readyz"))
        except OSError:
            return False

    def get(self, url: str) -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())

    def verb(self, *words: str) -> str:
        return self.podman.run("exec", NAME, "blazeio-supervisor", *words)


@pytest.fixture
def shop(podman: Podman) -> Iterator[Shop]:
    try:
        yield Shop(podman)
    finally:
        print(podman.run("logs", NAME, may_fail=True))
        podman.run("rm", "--force", "--time", "0", NAME)


def test_it_is_small_and_has_no_secrets_of_the_developer(podman: Podman) -> None:
    own = podman.inspect("image", IMAGE)["Size"] - podman.inspect("image", BASE)["Size"]
    assert own < MOST_MIB * 2**20, own / 2**20
    words = ("run", "--rm", "--network", "none", *LIMITS, "--entrypoint", "ls", IMAGE)
    listed = podman.run(*words, "-A", "/srv/app").split()
    assert "app.py" in listed
    assert ".env" not in listed


def test_it_is_the_first_process_and_may_do_nothing(shop: Shop) -> None:
    assert "app:web: master pid 1, generation 1" in shop.verb("status")
    status = shop.podman.run("exec", NAME, "cat", "/proc/1/status")
    assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    told = shop.podman.run("exec", NAME, "touch", "/srv/app/x", may_fail=True)
    assert "Read-only file system" in told


def test_verbs_reach_it_and_a_reload_takes(shop: Shop) -> None:
    assert shop.get(shop.url)
    assert "reloaded: generation 2" in shop.verb("reload", "--wait")
    assert "reloaded" in shop.verb("events")
    assert shop.get(shop.url)


def test_its_health_check_says_whether_it_serves(podman: Podman) -> None:
    """At the ports of the image: this container has a network of its own."""
    words = ("run", "--detach", "--name", NAME, "--network", "none", *LIMITS)
    podman.run(*words, IMAGE, "app:web", "--workers", "1")
    try:
        block_until(lambda: ask_health(podman) == "", 30, "health")
        podman.run("kill", "--signal", "WINCH", NAME)  # its workers drain
        block_until(lambda: ask_health(podman) == "unhealthy", 30, "no health")
    finally:
        podman.run("rm", "--force", "--time", "0", NAME)


def ask_health(podman: Podman) -> str:
    return podman.run("healthcheck", "run", NAME, may_fail=True)


def test_term_answers_what_is_in_flight(shop: Shop) -> None:
    answers: list[str] = []
    asking = threading.Thread(
        target=lambda: answers.append(shop.get(f"{shop.url}/slow?2"))
    )
    asking.start()
    block_until(lambda: _count_in_flight(shop) == 1, 10)
    began_at = time.monotonic()
    shop.podman.run("stop", "--time", "40", NAME)
    took_s = time.monotonic() - began_at
    asking.join()
    assert answers == ["late"]
    assert took_s < scaled(10), "it was killed at the end of the grace period"
    assert shop.podman.inspect("container", NAME)["State"]["ExitCode"] == 0


def _count_in_flight(shop: Shop) -> int:
    rows = json.loads(shop.verb("status", "--json"))["workers"]
    return sum(each["in_flight"] for each in rows)
