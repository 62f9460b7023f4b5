"""The table: apps as people write them, each taken through a life of its service."""

from pathlib import Path

import pytest

from tests.process.apps.ending import ROWS as ENDING
from tests.process.apps.forking import ROWS as FORKING
from tests.process.apps.life import live_through
from tests.process.apps.row import Row
from tests.process.apps.starting import ROWS as STARTING
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow


def list_rows() -> list[object]:
    return [
        pytest.param(row, id=row.name, marks=[] if row.is_quick else pytest.mark.long)
        for row in (*FORKING, *STARTING, *ENDING)
    ]


@pytest.mark.parametrize("row", list_rows())
def test_an_app_is_served_whatever_it_does(
    live_server: LiveServers, tmp_path: Path, row: Row
) -> None:
    live_through(live_server, tmp_path, row)
