"""Some of what ``make fuzz`` does for minutes: see ``tests/fuzz/clients.py``."""

import pytest

from tests.fuzz.clients import TARGETS, converse, fuzz
from tests.support.variations import vary

pytestmark = pytest.mark.slow

SEED = 9112
SECONDS = vary("seconds", [0.1, 1.0])


@SECONDS
@pytest.mark.parametrize("name", TARGETS)
def test_random_octets_to_each_decoder(name: str, seconds: float) -> None:
    assert fuzz(name, seconds, SEED) > 0


@SECONDS
async def test_random_octets_to_connections(seconds: float) -> None:
    assert await converse(seconds, SEED) > 0
