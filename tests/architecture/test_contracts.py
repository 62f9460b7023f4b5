"""The rooms import in one direction; the contracts stand in pyproject.toml."""

import tomllib
from typing import Any

import pytest

from tests.support.live import run_to_exit
from tests.support.tree import PACKAGES, REPOSITORY, iterate_modules

CONFIG = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
CONTRACTS: list[dict[str, Any]] = CONFIG["tool"]["importlinter"]["contracts"]


@pytest.mark.slow
def test_every_import_goes_down() -> None:
    done = run_to_exit(["lint-imports", "--no-cache"], timeout_s=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_of_blazeio_is_a_layer() -> None:
    layers = " ".join(CONTRACTS[0]["layers"])
    root = REPOSITORY / PACKAGES["blazeio"]
    rooms = {
        each.name.split(".")[1]
        for each in iterate_modules()
        if each.path.is_relative_to(root) and each.name != "blazeio"
    }
    assert not {room for room in rooms if f"blazeio.{room}" not in layers}
