"""Some of what ``make fuzz`` does for minutes: see ``tests/fuzz/http2.py``."""

import pytest

from tests.fuzz.http2 import TARGETS, fuzz
from tests.support.variations import vary

pytestmark = pytest.mark.slow


@vary("seconds", [0.1, 1.0])
@pytest.mark.parametrize("name", TARGETS)
def test_random_octets_of_clients(name: str, seconds: float) -> None:
    assert fuzz(name, seconds, 9113) > 0
