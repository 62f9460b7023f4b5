"""A Chromium without a window, for tests of pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.support.programs import find_program

_ARGUMENTS = (
    "headless",
    "no-sandbox",  # as root there is none
    "disable-gpu",
    "disable-dev-shm-usage",
    "disable-quic",
    "ignore-certificate-errors",
    "disable-background-networking",
)


@contextmanager
def open_chromium(folder: Path, *arguments: str) -> Iterator[Chrome]:
    """Start one with a profile below a folder; skips where it is not installed."""
    browser, driver = find_program("chromium"), find_program("chromedriver")
    options = ChromeOptions()
    options.binary_location = browser
    options.set_capability("acceptInsecureCerts", True)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    profile = f"user-data-dir={folder / 'profile'}"
    for argument in (*_ARGUMENTS, profile, *arguments):
        options.add_argument(f"--{argument}")
    chrome = Chrome(options, ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()
