"""One machine for each module: half a second, and every module begins clean."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, why_not


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.systemd)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    if why_not():
        pytest.skip(why_not())
    name = request.path.stem.removeprefix("test_").replace("_", "-")
    # A service's own user must be able to get there.
    folder = tmp_path_factory.mktemp(name)
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)
    with Machine(name, folder) as made:
        yield made
