"""The reloads of a service: who has asked, with which settings, and the outcome.

Which reload runs, and how it ends, is decided in ``fleet/rollout.py``, which knows
each by its ticket.
"""

import asyncio
import contextlib
import fnmatch
import os
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)

from msgspec import Struct
from msgspec.structs import replace
from setproctitle import setproctitle

from blazeio_supervisor.config.lifecycle import FileWatch
from blazeio_supervisor.config.settings import LiveSettings, Settings
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import Fact, ReloadAsked
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.log.setup import FramesPrinter, note


class ReloadOutcome(Struct, frozen=True):
    """How a reload ended.

    Attributes:
        output: What the app raised in the new processes; "" when it is ok.
        needs_restart: Settings that have changed, and not in this service.
        is_superseded: A later reload took its place before it was over: this is how
            that one ended.
        way_back_s: How long the code before is kept at most.
    """

    generation: int
    is_ok: bool
    reason: str
    output: str
    took_s: float
    needs_restart: tuple[str, ...] = ()
    is_superseded: bool = False
    way_back_s: float = 0.0


class Reload(Struct, frozen=True):
    """A reload that somebody has asked for.

    Attributes:
        at: When it was asked for, monotonic seconds.
        trial: The settings that were read for it.
    """

    by: str
    at: float
    trial: LiveSettings
    outcome: asyncio.Future[ReloadOutcome]


class Reloads:
    """The reloads that are not over; which of them runs is decided by the planner.

    Args:
        put_fact: Takes the fact that one was asked for.
        frames: Knows what the app raised.
        live: The settings in force.
    """

    def __init__(
        self,
        put_fact: Callable[[Fact], None],
        frames: FramesPrinter,
        live: LiveSettings,
    ) -> None:
        self._put_fact = put_fact
        self._frames = frames
        self._live = live
        self._tickets = 0
        self._open: dict[int, Reload] = {}
        self._trial: tuple[int, LiveSettings] | None = None
        self._before: LiveSettings | None = None

    def ask(self, by: str) -> asyncio.Future[ReloadOutcome]:
        """Ask for a reload; settings that cannot be fail it at once.

        Args:
            by: Who asks, for the log.

        Returns:
            Its outcome, which nobody has to await.
        """
        outcome = asyncio.get_running_loop().create_future()
        try:
            # Read at the time of the order: what the operator sees in the file now is
            # what is tried, also where the reload has to wait for another one.
            trial = self._live.read_again()
        except UsageError as error:
            text = f"{by} asked for a reload, nothing has changed: {error}"
            note("reload_failed", text, "ERROR")
            outcome.set_result(ReloadOutcome(0, False, str(error), "", 0.0))
            return outcome
        self._tickets += 1
        self._open[self._tickets] = Reload(by, time.monotonic(), trial, outcome)
        self._put_fact(ReloadAsked(self._tickets, by))
        return outcome

    def begin(self, generation: int, ticket: int | None) -> Settings:
        """Return the settings of a generation that is about to be loaded.

        Those of a reload are on trial from now on: if its code is not taken, they
        are not either.
        """
        # Without a ticket nobody has asked for new settings: a generation that is
        # loaded because a forkserver was lost has those in force, whatever was on
        # trial.
        self._trial = None
        if ticket is not None:
            self._trial = generation, self._open[ticket].trial
        return self.settings_of(generation)

    def settings_of(self, generation: int) -> Settings:
        """Return the settings that a generation is loaded with."""
        # Workers of the old generation are still forked while the new one is on trial,
        # and need the settings that they were loaded with.
        if self._trial is not None and self._trial[0] == generation:
            return self._trial[1].settings
        return self._live.settings

    def end(self, ended: ReloadEnded) -> Settings:
        """Answer all who have asked; return the settings in force from now on."""
        if self._trial is not None and self._trial[0] == ended.generation:
            if ended.is_ok:
                # A copy: ``take`` changes the object in place, which others hold.
                self._before = replace(self._live)
                self._live.take(self._trial[1])
            self._trial = None
        for ticket in ended.tickets:
            self._answer(self._open.pop(ticket), ended, ticket in ended.superseded)
        return self._live.settings

    def undo(self) -> Settings:
        """Put the settings of before the last reload into force again; return them.

        After an upgrade of the supervisor, those in force stay.
        """
        if self._before is not None:
            self._live.take(self._before)
            self._before = None
        return self._live.settings

    def _answer(self, reload: Reload, ended: ReloadEnded, is_superseded: bool) -> None:
        outcome = ReloadOutcome(
            generation=ended.generation,
            is_ok=ended.is_ok,
            reason=ended.reason,
            output="" if ended.is_ok else self._frames.printed_by(ended.generation),
            took_s=time.monotonic() - reload.at,
            way_back_s=ended.way_back_s,
            needs_restart=self._live.needs_restart,
            is_superseded=is_superseded,
        )
        if not (is_superseded or ended.is_reported):  # else there is an event of it
            _note_end(reload, outcome)
        if not reload.outcome.done():  # else whoever waited has left
            reload.outcome.set_result(outcome)


def _note_end(reload: Reload, outcome: ReloadOutcome) -> None:
    generation, by = outcome.generation, f"the reload that {reload.by} asked for"
    if outcome.is_ok:
        note("reload_ok", f"{by} took {outcome.took_s:.1f} s", generation=generation)
    else:
        text = f"{by} has failed: {outcome.reason}"
        note("reload_failed", text, generation=generation)


def name_master(settings: Settings) -> None:
    """Set the title of the process, so that ``ps`` shows what is served."""
    setproctitle(f"blazeio: master [{escape_line(settings.app.text)}]")


# Watching the files of an app while it is developed: ``--reload``.
#
# watchfiles has the kernel tell of changes (inotify), in a thread of its own. It is an
# extra, and imported only where it is asked for. Where the kernel is told nothing, the
# files are looked at here: watchfiles compares whole seconds, and would not see a file
# that is saved twice within one.


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
