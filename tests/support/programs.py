"""Programs of other packages that some tests run."""

import os
import shutil

import pytest

_PACKAGES = {
    "chromedriver": "chromium-driver",
    "groff": "groff-base",
    "h2load": "nghttp2-client",
    "ip": "iproute2",
    "nghttp": "nghttp2-client",
    "nginx": "nginx-light",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}
"""Debian's packages that are not called as their program is."""


def find_program(name: str) -> str:
    """Return the path of a program; skip the test where it is missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is missing: apt-get install {_PACKAGES.get(name, name)}")
    return found
