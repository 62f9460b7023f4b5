"""Whatever local users send to the control socket and to the metrics."""

from pathlib import Path

import pytest

from tests.fuzz.local_users import LocalUsers


@pytest.mark.slow
async def test_random_requests_are_answered_and_leave_nothing(tmp_path: Path) -> None:
    assert await LocalUsers(tmp_path, seed=1).ask_for(1.0) > 0
