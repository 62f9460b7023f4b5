"""The table of trust boundaries names code and tests that are there."""

import re

from tests.support.tree import REPOSITORY

ROOTS = (REPOSITORY, REPOSITORY / "supervisor" / "blazeio_supervisor")
PAGE = (REPOSITORY / "docs" / "explanation" / "security.md").read_text()
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
NAMED = re.compile(r"`([^`]+)`")


def find(path: str) -> str | None:
    for root in ROOTS:
        if (root / path).is_file():
            return (root / path).read_text()
    return None


def test_every_file_is_there() -> None:
    paths = [each for each in NAMED.findall(PAGE) if each.endswith(".py")]
    assert len(paths) > 80
    assert [each for each in paths if find(each) is None] == []


def test_every_function_stands_in_the_file_before_it() -> None:
    missing = []
    for row in ROWS:
        text = ""
        for name in NAMED.findall(row[2]) if len(row) > 2 else []:
            if name.endswith(".py"):
                text = find(name) or ""
            elif not re.search(rf"(def|class) {name}\b|^{name}\b", text, re.MULTILINE):
                missing.append((name, row[2]))
    assert missing == []


def test_each_boundary_has_a_test() -> None:
    rows = [row for row in ROWS if row[0] != "| from"]
    assert len(rows) > 40
    assert [row for row in rows if "`tests/" not in row[-1]] == []
