"""Files one can read at a sitting."""

import ast
import statistics

import pytest

from tests.support.tree import PACKAGES, REPOSITORY, iterate_files, iterate_modules

MOST_LINES = 600
MOST_FILES = 220
LEAST_MEDIAN, MOST_MEDIAN = 100, 250
MOST_LEVELS = 2
LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with the reason."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
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


def count_code(source: str) -> int:
    """Count the lines of code: without blank lines, comments and docstrings."""
    lines = [line.strip() for line in source.splitlines()]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            text = node.body[0]
            assert text.end_lineno is not None
            first = text.lineno - 1
            lines[first : text.end_lineno] = [""] * (text.end_lineno - first)
    return sum(bool(line) and not line.startswith("#") for line in lines)


def test_only_what_is_code_is_counted() -> None:
    source = '''"""Of the module,

in two lines."""

# A comment.
async def run(  # another
    limit: int,
) -> str:
    """Of the function."""

    return f"""{limit}
    and more"""
'''
    assert count_code(source) == 5


def test_the_files_are_few_and_of_a_middle_size() -> None:
    """Whoever looks for a subject finds one file, and can read it at a sitting.

    Counted in both packages, by lines of code: without blank lines, comments and
    docstrings.
    """
    counts = [count_code(each.path.read_text()) for each in iterate_modules()]
    assert len(counts) <= MOST_FILES
    assert LEAST_MEDIAN <= statistics.median(counts) <= MOST_MEDIAN


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
