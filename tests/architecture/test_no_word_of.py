"""Committed text speaks of the project, not of one developer's machine."""

import re
from pathlib import PurePosixPath

import pytest

from tests.support.tree import iterate_texts

HOSTS = {
    "127.0.0.1",
    "docs.python.org",
    "example.com",
    "github.com",
    "keepachangelog.com",
    "semver.org",
    "www.rfc-editor.org",
    "www.w3.org",  # the namespace of SVG
}
"""Hosts that a URL in this repository may name."""
HOME = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/[\w.]+")
URL = re.compile(r"https?://([\w.-]*\w|\[[0-9a-f:]+\])")
REGISTRY = re.compile(r"(?:extra-)?index-url|PIP_INDEX|trusted-host", re.IGNORECASE)
HERE = PurePosixPath("tests/architecture/test_no_word_of.py")

TEXTS = [(place, text) for place, text in iterate_texts() if place != HERE]


@pytest.mark.parametrize("pattern", [HOME, REGISTRY], ids=["home", "registry"])
def test_no_file_names_a_machine_or_registry(pattern: re.Pattern[str]) -> None:
    found = {
        str(place): matches
        for place, text in TEXTS
        if (matches := pattern.findall(text))
    }
    assert not found


def test_every_url_leads_to_a_known_host() -> None:
    found = {
        str(place): unknown
        for place, text in TEXTS
        if (unknown := {host for host in URL.findall(text) if _is_unknown(host)})
    }
    assert not found


def _is_unknown(host: str) -> bool:
    reserved = host.endswith((".example", ".test", ".invalid", ".example.com"))
    is_real = "." in host and not reserved
    return is_real and host not in HOSTS
