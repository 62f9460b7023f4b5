"""Watching the files of an app while it is developed: ``--reload``.

watchfiles has the kernel tell of changes (inotify), in a thread of its own. It is an
extra, and imported only where it is asked for. Where the kernel is told nothing, the
files are looked at here: watchfiles compares whole seconds, and would not see a file
that is saved twice within one.
"""

import asyncio
import contextlib
import fnmatch
import os
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)

from msgspec.structs import replace

from blazeio_supervisor.config.lifecycle import FileWatch

CODE = ("*.py", "blazeio.toml", "pyproject.toml")
"""What is code wherever it lies."""
LATEST_MS = 400
"""A change counts once nothing has changed for ``--reload-delay``, since an editor
writes a file in steps; and after this at the latest, whatever changes on."""
POLL_MS = 300
"""How often the files are looked at where the kernel is not asked."""
REMOTE = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "vboxsf", "prl_fs", "afs")
"""How the types of file systems begin that others may change unseen by our kernel."""
NAMED_COUNT = 3

FileMark = tuple[int, int, int]
"""What tells two states of a file apart: its time in nanoseconds, size and inode."""


async def watch_files(watch: FileWatch, change: Callable[[str], object]) -> None:
    """Call a function for changed files until cancelled.

    What no person writes is left out: compiled files, drafts of editors, and the
    folders of version control, environments and caches.

    Args:
        watch: What is watched, and how.
        change: Called with the names of what has changed, in words.
    """
    changes = _look_at_files(watch) if watch.polls else _ask_kernel(watch)
    async for paths in changes:
        change(name_files(sorted(paths), os.getcwd()))


async def _ask_kernel(watch: FileWatch) -> AsyncIterator[set[str]]:
    from watchfiles import DefaultFilter, awatch

    usual = DefaultFilter()

    def counts(kind: object, path: str) -> bool:
        return is_watched(path, watch) and usual(kind, path)  # type: ignore[arg-type]

    delay_ms = max(int(watch.delay_s * 1000), 1)
    changes = awatch(
        *watch.folders,
        watch_filter=counts,
        step=delay_ms,
        debounce=max(LATEST_MS, delay_ms),
        force_polling=False,
        ignore_permission_denied=True,
    )
    async for files in changes:
        yield {path for _, path in files}


async def _look_at_files(watch: FileWatch) -> AsyncIterator[set[str]]:
    from watchfiles import Change, DefaultFilter

    usual, loop = DefaultFilter(), asyncio.get_running_loop()
    skipped = frozenset(usual.ignore_dirs)

    async def look() -> dict[str, FileMark]:
        return await loop.run_in_executor(None, mark_files, watch, skipped)

    seen = await look()
    while True:
        await asyncio.sleep(POLL_MS / 1000)
        found, latest_at = await look(), loop.time() + LATEST_MS / 1000
        changed = find_changed(seen, found)
        while changed and loop.time() < latest_at:
            await asyncio.sleep(watch.delay_s)
            seen, found = found, await look()
            if not (more := find_changed(seen, found)):
                break
            changed |= more
        seen = found
        changed = {path for path in changed if usual(Change.modified, path)}
        if changed:
            yield changed


def mark_files(watch: FileWatch, skipped: Collection[str]) -> dict[str, FileMark]:
    """Mark the present state of each file that is watched.

    Args:
        watch: What is watched.
        skipped: Names of folders that are not looked into.
    """
    marks: dict[str, FileMark] = {}
    for top in watch.folders:
        for folder, names, files in os.walk(top):
            names[:] = [name for name in names if name not in skipped]
            for path in (os.path.join(folder, name) for name in files):
                if is_watched(path, watch):
                    with contextlib.suppress(OSError):  # it is gone by now
                        now = os.stat(path)
                        marks[path] = (now.st_mtime_ns, now.st_size, now.st_ino)
    return marks


def find_changed(
    before: Mapping[str, FileMark], after: Mapping[str, FileMark]
) -> set[str]:
    """Return which files are new, gone or others."""
    return {path for path, _ in before.items() ^ after.items()}


def choose_polling(watch: FileWatch, mounts: Mapping[str, str]) -> FileWatch:
    """Settle whether the files are looked at.

    Args:
        watch: What is watched.
        mounts: The type of each file system by the folder where it is mounted.
    """
    if watch.polls is not None:
        return watch
    # inotify(7) tells nothing of changes that another machine has made on a network
    # file system, nor of those on the host of a shared folder.
    return replace(watch, polls=any(_is_deaf(each, mounts) for each in watch.folders))


def _is_deaf(folder: str, mounts: Mapping[str, str]) -> bool:
    path = os.path.realpath(folder) + os.sep
    above = [each for each in mounts if path.startswith(each.rstrip(os.sep) + os.sep)]
    kind = mounts[max(above, key=len)] if above else ""
    return kind.startswith(REMOTE)


def list_mounts() -> dict[str, str]:
    """Return the type of each file system that is mounted, by its folder."""
    import psutil  # not of a service that watches nothing

    return {each.mountpoint: each.fstype for each in psutil.disk_partitions(all=True)}


def is_watched(path: str, watch: FileWatch) -> bool:
    """Tell whether a change of a file counts, by its name and its path."""
    name = os.path.basename(path)
    if not _matches(name, (*CODE, *watch.includes)):
        return False
    relative = [
        os.path.relpath(path, each)
        for each in watch.folders
        if path.startswith(each.rstrip(os.sep) + os.sep)
    ]
    return not any(_matches(each, watch.excludes) for each in (name, *relative))


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def name_files(paths: Sequence[str], folder: str) -> str:
    """Return the names of the first few files on one line."""
    names = [path.removeprefix(folder + os.sep) for path in paths]
    more = len(names) - NAMED_COUNT
    rest = [f"{more} more"] if more > 0 else []
    return ", ".join([*names[:NAMED_COUNT], *rest])
