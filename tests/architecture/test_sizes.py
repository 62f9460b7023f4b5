"""Files one can read at a sitting."""

import pytest

from tests.support.tree import PACKAGES, REPOSITORY, iterate_files, iterate_modules

MOST_LINES = 600
MOST_LEVELS = 2
LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with the reason."""
VAGUE_WORDS = {"util", "utils", "helper", "helpers", "misc", "common", "manager"}


def test_no_file_is_longer_than_600_lines() -> None:
    long = {
        str(place): lines
        for path in iterate_files()
        if path.suffix == ".py"
        and (lines := path.read_text().count("\n")) > MOST_LINES
        and str(place := path.relative_to(REPOSITORY)) not in LONG_FILES
    }
    assert not long


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_is_more_than_two_levels_below_its_package(package: str) -> None:
    root = REPOSITORY / PACKAGES[package]
    deep = {
        str(each.path.parent.relative_to(root))
        for each in iterate_modules()
        if each.path.is_relative_to(root)
        and len(each.path.parent.relative_to(root).parts) > MOST_LEVELS
    }
    assert not deep


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        each.name
        for each in iterate_modules()
        if VAGUE_WORDS & set(each.path.stem.split("_"))
    ]
    assert not vague


def test_the_allow_lists_hold_only_what_exists() -> None:
    assert not [each for each in LONG_FILES if not (REPOSITORY / each).exists()]
