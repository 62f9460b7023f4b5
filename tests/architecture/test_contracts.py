"""The rooms import in one direction; the contracts stand in pyproject.toml."""

import re
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


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_and_folder_of_a_package_is_in_a_layer(package: str) -> None:
    """All but what other contracts order: a package's own ``__init__``."""
    (contract,) = [
        each
        for each in CONTRACTS
        if each["type"] == "layers" and each["layers"][0].startswith(f"{package}.")
    ]
    layers = set(re.findall(r"[\w.]+", " ".join(contract["layers"])))
    below = {
        ".".join(each.name.split(".")[:2])
        for each in iterate_modules()
        if each.name.startswith(f"{package}.")
    }
    assert len(below) > 10
    assert below - layers == set()
    assert layers - below == set()
