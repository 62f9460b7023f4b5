"""CONTRIBUTING.md: every room and file is on the map, and nothing else."""

import re

import pytest

from tests.support.tree import PACKAGES, REPOSITORY, iterate_modules

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
(MAP,) = re.findall(r"```\n(blazeio/ .+?)```", TEXT, re.DOTALL)
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def list_entries() -> set[str]:
    """Return the paths on the map, from the repository's root."""
    entries = set()
    above: dict[int, str] = {}
    for line in MAP.splitlines():
        indent = len(line) - len(line.lstrip())
        folder = above.get(indent - 2, "")
        for name in re.match(r"\s*((?:[\w/.]+\.py |[\w/]+/)+)", line)[1].split():  # type: ignore[index] # each line names some
            entries.add(f"{folder}{name}")
            above[indent] = f"{folder}{name}"
    return entries


def test_everything_on_the_map_is_there() -> None:
    entries = list_entries()
    assert len(entries) > 30
    assert [each for each in entries if not (REPOSITORY / each).exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_and_file_of_a_package_is_on_the_map(package: str) -> None:
    root = REPOSITORY / PACKAGES[package]
    rooms = {
        f"{PACKAGES[package]}/{below[0]}" + "/" * (len(below) > 1)
        for each in iterate_modules()
        if each.path.is_relative_to(root)
        and (below := each.path.relative_to(root).parts)
    }
    rooms -= {f"{PACKAGES[package]}/{name}" for name in ("__init__.py", "__main__.py")}
    assert rooms - list_entries() == set()


def test_every_make_target_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", TEXT))
    assert named <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
