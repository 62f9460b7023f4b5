"""Half a second of what ``make fuzz`` does for minutes: see ``tests/fuzz/http2.py``."""

import pytest

from tests.fuzz.http2 import TARGETS, fuzz

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", TARGETS)
def test_random_octets_of_clients(name: str) -> None:
    assert fuzz(name, 0.5, 9113) > 0
