"""Files one can read at a sitting, folders one can see at a glance."""

from collections import Counter

from tests.support.tree import REPOSITORY, iterate_files, iterate_modules

MOST_LINES = 600
LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with the reason."""
FEWEST_MODULES, MOST_MODULES = 3, 9
SMALL_FOLDERS: dict[str, str] = {}
"""Folders of the packages that hold fewer, each with the reason."""
LARGE_FOLDERS = {
    "blazeio/wire": (10, "RFC 9112 by section; the fields have a room of their own"),
}
"""Folders that hold more: how many at most, and why."""
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


def test_a_folder_holds_three_to_nine_modules() -> None:
    counts = Counter(
        str(each.place.parent)
        for each in iterate_modules()
        if each.path.name != "__init__.py"
    )
    odd = {
        folder: count
        for folder, count in counts.items()
        if count > LARGE_FOLDERS.get(folder, (MOST_MODULES,))[0]
        or (count < FEWEST_MODULES and folder not in SMALL_FOLDERS)
    }
    assert not odd


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        each.name
        for each in iterate_modules()
        if VAGUE_WORDS & set(each.path.stem.split("_"))
    ]
    assert not vague


def test_the_allow_lists_hold_only_what_exists() -> None:
    allowed = [*LONG_FILES, *SMALL_FOLDERS, *LARGE_FOLDERS]
    assert not [each for each in allowed if not (REPOSITORY / each).exists()]
