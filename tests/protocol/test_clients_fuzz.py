"""A second of what ``make fuzz`` does for minutes: see ``tests/fuzz/clients.py``."""

import pytest

from tests.fuzz.clients import TARGETS, converse, fuzz

pytestmark = pytest.mark.slow

SECONDS = 0.4
SEED = 9112


@pytest.mark.parametrize("name", TARGETS)
def test_random_octets_to_each_decoder(name: str) -> None:
    assert fuzz(name, SECONDS, SEED) > 0


async def test_random_octets_to_connections() -> None:
    assert await converse(SECONDS, SEED) > 0
