"""The pages of the examples, in a real browser, over reloads of their server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.process.service import Service
from tests.support.chromium import open_chromium
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.tree import REPOSITORY

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EXAMPLES = REPOSITORY / "examples"
RELOAD_TIMEOUT_S = 20.0
FILE_BYTES = 50_000_000
UPLOAD_BYTES_PER_S = 50_000_000

WATCH = """
const [selector, read] = arguments
const seen = window.seen = []
const note = () => seen.push(document.querySelector(selector)[read])
new MutationObserver(note).observe(document.querySelector(selector), {
  attributes: true, childList: true, characterData: true, subtree: true
})
"""
"""Keeps what an element has shown, however short."""


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chrome]:
    with open_chromium(tmp_path) as chrome:
        yield chrome


Serve = Callable[[str], Service]


@pytest.fixture
def serve(live_server: LiveServers, tmp_path: Path) -> Serve:
    def start(example: str) -> Service:
        command = ["blazeio-supervisor", f"{example}:web", "--app-dir", str(EXAMPLES)]
        bind = ["--bind", "127.0.0.1:0", "--workers", "1"]
        env = {"UPLOADS": str(tmp_path / "uploads")}
        server = live_server.start([*command, *bind], cwd=tmp_path, env=env)
        return Service(server, EXAMPLES)

    return start


def show(chromium: Chrome, service: Service) -> None:
    server = service.server
    chromium.get(f"http://{server.host}:{server.port}/")


def say(chromium: Chrome, text: str) -> None:
    chromium.find_element(By.ID, "text").send_keys(text, Keys.ENTER)


def shows(chromium: Chrome, text: str, timeout_s: float = 5) -> None:
    body = chromium.find_element(By.TAG_NAME, "body")
    block_until(lambda: text in body.text, timeout_s, f"the page shows {text}")


def seen(chromium: Chrome) -> list[str]:
    values: list[str] = chromium.execute_script("return window.seen")
    return values


def test_an_event_source_is_there_again_after_a_reload(
    chromium: Chrome, serve: Serve
) -> None:
    service = serve("chat_events")
    show(chromium, service)
    say(chromium, "before")
    shows(chromium, "before")
    service.reload(2)
    service.wait_count(1)  # until then, the page may speak to the old worker
    say(chromium, "after")
    shows(chromium, "after")


def test_a_websocket_is_told_of_a_reload_and_comes_back(
    chromium: Chrome, serve: Serve
) -> None:
    service = serve("chat_websocket")
    show(chromium, service)
    shows(chromium, "here")
    chromium.execute_script(WATCH, "#state", "textContent")
    service.reload(2)
    block_until(lambda: len(seen(chromium)) >= 2, RELOAD_TIMEOUT_S)
    assert seen(chromium) == ["closed (1012), coming back", "here"]
    say(chromium, "after")
    shows(chromium, ": after")


def test_an_upload_shows_its_progress(
    chromium: Chrome, serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(FILE_BYTES))
    show(chromium, serve("upload"))
    chromium.set_network_conditions(
        latency=0, download_throughput=-1, upload_throughput=UPLOAD_BYTES_PER_S
    )
    chromium.execute_script(WATCH, "progress", "value")
    chromium.find_element(By.NAME, "title").send_keys("Large")
    chromium.find_element(By.NAME, "file").send_keys(str(file))
    chromium.find_element(By.TAG_NAME, "button").click()
    shows(chromium, f'"size":{FILE_BYTES}', 30)
    values = [float(each) for each in seen(chromium)]
    assert values == sorted(values)
    assert len([each for each in values if 0 < each < 1]) >= 3
    assert (tmp_path / "uploads" / "large.bin").stat().st_size == FILE_BYTES
