"""`supervisor` and `systemd` are folders, never packages.

The editable install puts the repository's root and ``supervisor/`` on the
path, so ``import supervisor.blazeio_supervisor`` would work, and give a
second copy of every class.
"""

import json
import re

import pytest

from tests.support.live import run_to_exit
from tests.support.tree import REPOSITORY, iterate_files, iterate_modules

FOLDERS = ("supervisor", "systemd")
PROBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""


def imported_names(source: str) -> set[str]:
    """First part of every name that a file imports."""
    return set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folder_is_not_a_package(folder: str) -> None:
    assert not (REPOSITORY / folder / "__init__.py").exists()


def test_no_file_imports_by_the_folder() -> None:
    guilty = [
        str(path.relative_to(REPOSITORY))
        for path in iterate_files()
        if path.suffix == ".py" and set(FOLDERS) & imported_names(path.read_text())
    ]
    assert not guilty


def test_the_library_does_not_import_its_tests() -> None:
    guilty = [
        each.name
        for each in iterate_modules()
        if "tests" in imported_names(each.path.read_text())
    ]
    assert not guilty


@pytest.mark.slow
def test_importing_everything_makes_no_second_copy() -> None:
    done = run_to_exit(
        ["python", "-c", PROBE, *[each.name for each in iterate_modules()]]
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert not [name for name in loaded if name.split(".")[0] in FOLDERS]
