"""Some of what ``make fuzz`` does for minutes: see ``tests/fuzz/servers.py``."""

import asyncio

import pytest

from tests.fuzz.servers import TARGETS, converse, fuzz
from tests.support.variations import vary

pytestmark = pytest.mark.slow

SEED = 6265
SECONDS = vary("seconds", [0.1, 1.0])


@SECONDS
@pytest.mark.parametrize("name", TARGETS)
def test_random_octets_to_each_decoder(name: str, seconds: float) -> None:
    assert fuzz(name, seconds, SEED) > 0


@SECONDS
def test_random_octets_to_all_of_the_client(seconds: float) -> None:
    assert asyncio.run(converse(seconds, SEED)) > 0
