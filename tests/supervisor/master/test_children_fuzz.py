"""A second of what ``make fuzz`` does for minutes: see ``tests/fuzz/children.py``."""

import pytest

from tests.fuzz.children import TARGETS, converse, fuzz

pytestmark = pytest.mark.slow

SECONDS = 0.7
SEED = 4711


@pytest.mark.parametrize("name", TARGETS)
def test_random_octets_to_each_decoder(name: str) -> None:
    assert fuzz(name, SECONDS, SEED) > 0


async def test_random_messages_to_the_whole_channel() -> None:
    assert await converse(SECONDS, SEED) > 0
