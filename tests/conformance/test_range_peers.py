"""Range requests are answered as nginx answers them; ``make ranges`` asks more."""

from pathlib import Path

import pytest

from tests.conformance.range_peers import run
from tests.support.programs import find_program


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_random_ranges_are_answered_as_by_nginx(tmp_path: Path, seed: int) -> None:
    assert run(find_program("nginx"), tmp_path, 200, seed) == 0
