"""A machine for each module; what its user has made stays for the next test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian.machine import CLONE, Machine, why_not


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.debian)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Its user has a clone of this repository in the home folder."""
    if why_not():
        pytest.skip(why_not())
    with Machine(request.module.USER) as made:
        made.type(f"git clone --quiet file://{CLONE} blazeio")
        yield made
