"""A bar that shows how far a file is, on a terminal.

Rich is imported when there is one: it takes 0.1 s.

May import: nothing of blazeio.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blazeio.escaping import escape_line

Report = Callable[[int, int | None], None]
"""Called with the octets that are there, and how many there will be, if known."""


@contextmanager
def shown_progress(name: str, *, is_quiet: bool) -> Iterator[Report | None]:
    """Show a bar on standard error until the block ends.

    Args:
        name: Of the file.
        is_quiet: Show nothing, as where standard error is no terminal.
    """
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape_line(name), total=None)

        def report(done_bytes: int, whole_bytes: int | None) -> None:
            bar.update(task, completed=done_bytes, total=whole_bytes)

        yield report
