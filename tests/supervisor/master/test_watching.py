import asyncio
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from blazeio_supervisor.config.lifecycle import FileWatch
from blazeio_supervisor.master.reloads import (
    choose_polling,
    find_changed,
    is_watched,
    list_mounts,
    mark_files,
    name_files,
    watch_files,
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


def look(folder: Path) -> dict[str, tuple[int, int, int]]:
    return mark_files(FileWatch((str(folder),), excludes=("draft_*",)), {".git"})


def test_a_file_that_is_saved_twice_within_a_second_has_changed(tmp_path: Path) -> None:
    code = tmp_path / "app.py"
    code.write_text("a = 1")
    os.utime(code, ns=(10**18, 10**18))
    before = look(tmp_path)
    os.utime(code, ns=(10**18, 10**18 + 1))
    assert find_changed(before, look(tmp_path)) == {str(code)}


def test_a_file_that_took_the_place_of_another_has_changed(tmp_path: Path) -> None:
    code, draft = tmp_path / "app.py", tmp_path / "draft_app.py"
    for path in (code, draft):
        path.write_text("a = 1")
        os.utime(path, ns=(10**18, 10**18))
    before = look(tmp_path)
    draft.rename(code)
    assert find_changed(before, look(tmp_path)) == {str(code)}


def test_what_is_new_or_gone_has_changed_and_what_is_left_out_has_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "gone.py").write_text("")
    (tmp_path / "same.py").write_text("")
    before = look(tmp_path)
    (tmp_path / "gone.py").unlink()
    (tmp_path / "new.py").write_text("")
    (tmp_path / "draft_new.py").write_text("")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hook.py").write_text("")
    changed = find_changed(before, look(tmp_path))
    assert changed == {str(tmp_path / "gone.py"), str(tmp_path / "new.py")}


async def test_files_that_are_looked_at_are_told_by_name(tmp_path: Path) -> None:
    told: list[str] = []
    watch = FileWatch((str(tmp_path),), polls=True)
    watching = asyncio.create_task(watch_files(watch, told.append))
    number = 0

    async def change_on() -> None:  # until it has looked once
        nonlocal number
        number += 1
        (tmp_path / "app.py").write_text(f"a = {number}")

    while not told:
        await change_on()
        await asyncio.sleep(0.05)
    watching.cancel()
    assert told[0].endswith("app.py")


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
