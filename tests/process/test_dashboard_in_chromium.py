"""The live page in a browser: what it shows, and what its buttons do."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.process.service import Service
from tests.process.test_dashboard import TOKEN, find_page, start
from tests.support.chromium import open_chromium
from tests.support.clock import block_until
from tests.support.live import LiveServers

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(120)]
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chrome]:
    with open_chromium(tmp_path) as chrome:
        yield chrome


@pytest.fixture
def service(live_server: LiveServers, tmp_path: Path) -> Service:
    return start(live_server, tmp_path, "--dashboard-token-file", "token")


def text(chromium: Chrome, name: str) -> str:
    return chromium.find_element(By.ID, name).text


def check_no_complaint(chromium: Chrome) -> None:
    said = chromium.get_log("browser")  # type: ignore[no-untyped-call]
    complaints = [each for each in said if "favicon" not in each["message"]]
    assert not complaints


def test_it_shows_the_service_and_what_happens(
    chromium: Chrome, service: Service
) -> None:
    chromium.get(find_page(service))
    block_until(lambda: text(chromium, "state") == "ready", 20, "a first look")
    killed = service.pids()[0]
    assert str(killed) in text(chromium, "workers")
    for _ in range(20):
        service.get()
    block_until(lambda: text(chromium, "rate").strip("0").isdecimal(), 20, "a rate")
    os.kill(killed, signal.SIGKILL)
    block_until(lambda: f"{killed}" not in text(chromium, "workers"), 20, "its end")
    assert "worker_failed" in text(chromium, "events")
    assert not chromium.find_elements(By.CSS_SELECTOR, "#workers button")
    assert not chromium.find_element(By.ID, "reload").is_displayed()
    check_no_complaint(chromium)


def test_its_buttons_order(chromium: Chrome, service: Service) -> None:
    before = service.pids()
    chromium.get(f"{find_page(service)}#{TOKEN}")
    reload = chromium.find_element(By.ID, "reload")
    block_until(reload.is_displayed, 20, "the button")
    chromium.find_element(By.CSS_SELECTOR, "#workers button").click()
    stacks = chromium.find_element(By.ID, "stack-text")
    block_until(lambda: "most recent call first" in stacks.text, 20, "stacks")
    chromium.find_element(By.CSS_SELECTOR, "#stacks button").click()
    reload.click()
    block_until(lambda: "reload_ok" in text(chromium, "events"), 30, "the reload")
    block_until(lambda: not {*before} & {*service.pids()}, 20, "new workers")
    block_until(
        lambda: str(service.pids()[0]) in text(chromium, "workers"), 20, "the new ones"
    )
    check_no_complaint(chromium)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_a_phone_in_both_colours(
    chromium: Chrome, service: Service, colours: str
) -> None:
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    media = [{"name": "prefers-color-scheme", "value": colours}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    chromium.get(find_page(service))
    block_until(lambda: text(chromium, "state") == "ready", 20, "a first look")
    wide = chromium.execute_script("return document.documentElement.scrollWidth")
    assert wide == PHONE["width"]
    back = chromium.execute_script("return getComputedStyle(document.body).background")
    assert ("rgb(246, 247, 249)" in back) is (colours == "light")


def test_the_end_of_the_service_is_shown(chromium: Chrome, service: Service) -> None:
    chromium.get(find_page(service))
    block_until(lambda: text(chromium, "state") == "ready", 20, "a first look")
    service.server.signal(signal.SIGTERM)
    service.server.wait_exit()
    block_until(lambda: text(chromium, "state") == "no connection", 20, "the end")
