"""Whatever local users send to the control socket and to the metrics."""

from pathlib import Path

import pytest

from tests.fuzz.local_users import LocalUsers
from tests.support.variations import vary


@pytest.mark.slow
@vary("seconds", [0.2, 1.0])
async def test_random_requests_are_answered_and_leave_nothing(
    tmp_path: Path, seconds: float
) -> None:
    assert await LocalUsers(tmp_path, seed=1).ask_for(seconds) > 0
