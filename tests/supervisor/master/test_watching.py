from pathlib import Path

import pytest
from msgspec.structs import replace

from blazeio_supervisor.config.settings import FileWatch
from blazeio_supervisor.master.watching import (
    choose_polling,
    is_watched,
    list_mounts,
    name_files,
)

WATCH = FileWatch(("/srv/app",))


@pytest.mark.parametrize(
    ("path", "is_code"),
    [
        ("/srv/app/shop/orders.py", True),
        ("/srv/app/blazeio.toml", True),
        ("/srv/app/page.html", False),
        ("/srv/app/notes.txt", False),
    ],
)
def test_code_counts(path: str, is_code: bool) -> None:
    assert is_watched(path, WATCH) is is_code


def test_what_is_included_counts_too() -> None:
    watch = replace(WATCH, includes=("*.html",))
    assert is_watched("/srv/app/page.html", watch)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("test_*.py", "/srv/app/shop/test_orders.py"),
        ("migrations/*", "/srv/app/migrations/0001.py"),
        ("*/generated/*", "/srv/app/shop/generated/a.py"),
    ],
)
def test_what_is_excluded_does_not(pattern: str, path: str) -> None:
    watch = replace(WATCH, excludes=(pattern,))
    assert is_watched(path, WATCH)
    assert not is_watched(path, watch)
    assert is_watched("/srv/app/orders.py", watch)


@pytest.mark.parametrize(
    ("kind", "polls"),
    [("nfs4", True), ("9p", True), ("fuse.sshfs", True), ("ext4", False), ("", False)],
)
def test_files_are_looked_at_where_the_kernel_is_told_nothing(
    kind: str, polls: bool
) -> None:
    mounts = {"/": "ext4", "/srv": kind, "/srv/application": "nfs4"}
    assert choose_polling(WATCH, mounts).polls is polls
    assert choose_polling(replace(WATCH, polls=not polls), mounts).polls is not polls


def test_the_mounts_of_this_machine_are_folders() -> None:
    assert any(Path(each).is_dir() for each in list_mounts())


def test_a_few_files_are_named() -> None:
    paths = [f"/srv/app/{name}.py" for name in "abcde"]
    assert name_files(paths, "/srv/app") == "a.py, b.py, c.py, 2 more"
