"""Watching the files of an app while it is developed: ``--reload``.

watchfiles has the kernel tell of changes (inotify), in a thread of its own. It is
an extra, and imported only where it is asked for.
"""

import fnmatch
import os
from collections.abc import Callable, Sequence

CODE = ("*.py", "blazeio.toml", "pyproject.toml")
"""What is code wherever it lies."""
QUIET_MS = 50
"""An editor writes a file in steps: a change counts once nothing has changed for
this long ..."""
LATEST_MS = 400
"""... and then at the latest, whatever changes on."""
NAMED_COUNT = 3


async def watch_files(
    folders: Sequence[str], patterns: Sequence[str], change: Callable[[str], object]
) -> None:
    """Call a function for changed files until cancelled.

    What no person writes is left out: compiled files, drafts of editors, and the
    folders of version control, environments and caches.

    Args:
        folders: With all that is below them.
        patterns: Names of files that count beside ``CODE``.
        change: Called with the names of what has changed, in words.
    """
    from watchfiles import DefaultFilter, awatch

    usual = DefaultFilter()
    wanted = (*CODE, *patterns)

    def counts(kind: object, path: str) -> bool:
        name = os.path.basename(path)
        is_code = any(fnmatch.fnmatch(name, pattern) for pattern in wanted)
        return is_code and usual(kind, path)  # type: ignore[arg-type]

    changes = awatch(
        *folders,
        watch_filter=counts,
        step=QUIET_MS,
        debounce=LATEST_MS,
        ignore_permission_denied=True,
    )
    async for files in changes:
        change(name_files(sorted({path for _, path in files}), os.getcwd()))


def name_files(paths: Sequence[str], folder: str) -> str:
    """Return the names of the first few files on one line."""
    names = [path.removeprefix(folder + os.sep) for path in paths]
    more = len(names) - NAMED_COUNT
    rest = [f"{more} more"] if more > 0 else []
    return ", ".join([*names[:NAMED_COUNT], *rest])
