"""A machine for each kind of user; what a user has made stays for the next test."""

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


USERS = [
    pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("root", "ada")
]


@pytest.fixture(scope="module", params=USERS)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Its user has a clone of this repository in the home folder."""
    if why_not():
        pytest.skip(why_not())
    with Machine(request.param) as made:
        made.type(f"git clone --quiet file://{CLONE} blazeio")
        yield made
