"""A second of what ``make fuzz`` does for minutes: see ``tests/fuzz/servers.py``."""

import asyncio

import pytest

from tests.fuzz.servers import TARGETS, converse, fuzz

pytestmark = pytest.mark.slow

SECONDS = 0.4
SEED = 6265


@pytest.mark.parametrize("name", TARGETS)
def test_random_octets_to_each_decoder(name: str) -> None:
    assert fuzz(name, SECONDS, SEED) > 0


def test_random_octets_to_all_of_the_client() -> None:
    assert asyncio.run(converse(SECONDS, SEED)) > 0
