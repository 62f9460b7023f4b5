from pathlib import Path

import pytest

from blazeio_supervisor.control.places import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "c.sock"))
