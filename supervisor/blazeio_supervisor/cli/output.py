"""How an order went, in one line."""

import time
from collections.abc import Callable, Sequence
from textwrap import indent
from typing import Generic, TypeVar

from msgspec import Struct

from blazeio_supervisor.fleet.reasons import count_of
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
    EventsAnswer,
    ForkserverStack,
    ParkAnswer,
    Progress,
    RecycleAnswer,
    Recycled,
    ReloadAnswer,
    ScaleAnswer,
    SlotAnswer,
    StackAnswer,
    UpgradeAnswer,
    WorkerStack,
)
from blazeio_supervisor.log.events import EventRecord
from blazeio_supervisor.log.formats import (
    continue_lines,
    escape_line,
    find_import,
    fold_own_frames,
    format_identity,
)

# Numbers as a person reads them.


_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3


def format_span(seconds: float) -> str:
    """Write a span with its two largest units: ``2 h 3 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else _hours(minutes)


def _hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60} m"


def format_bytes(count: int | None) -> str:
    """Write a size with three digits; None: a dash."""
    if count is None:
        return "-"
    if count < _MIB:
        return f"{count / _KIB:.0f} KiB"
    if count < _GIB:
        return f"{count / _MIB:.1f} MiB"
    return f"{count / _GIB:.2f} GiB"


def format_count(count: float) -> str:
    """Write a count in at most six characters: ``99999``, ``120k``, ``3.1M``."""
    if count < 100_000:
        return f"{count:.0f}"
    if count < 1_000_000:
        return f"{count / 1000:.0f}k"
    if count < 1_000_000_000:
        return f"{count / 1e6:.1f}M"
    return f"{count / 1e9:.1f}G"


def format_rate(rate: float) -> str:
    """Write events a second: with a decimal below ten."""
    return f"{rate:.1f}" if 0 < rate < 10 else format_count(rate)


def format_ms(seconds: float) -> str:
    """Write a short span: ``0.4 ms``, ``120 ms``, ``2.0 s``."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


_STEPS = {
    "importing": "importing the app",
    "canary": "its first worker starts",
    "checking": "its first worker is asked for the health path",
    "probation": "its first worker serves on trial",
    "rolling": "replacing workers",
    "holding": "every worker is new and serves on trial",
    "rolling_back": "going back to the old code",
}


def _name_step(progress: Progress) -> str:
    return _STEPS.get(progress.step, progress.step)


def format_progress(progress: Progress) -> str:
    """Write one step of a reload."""
    step = _name_step(progress)
    count = f"{progress.replaced} of {progress.slots} slots"
    return f"generation {progress.generation}, in {count}: {step}"


def format_step(progress: Progress) -> str:
    """Write the same with a bar, for a line that is written over."""
    bar = format_bar(progress.replaced, progress.slots)
    step = _name_step(progress)
    return f"{bar} slots, generation {progress.generation}: {step}"


def format_reload(answer: ReloadAnswer) -> str:
    """Write how a reload ended."""
    if not answer.is_over:
        return "reload asked for; `reload --wait` or the log tells how it ends"
    later = "superseded by a later reload" if answer.is_superseded else ""
    if answer.is_ok:
        return (
            f"{later or 'reloaded'}: generation {answer.generation} serves "
            f"in every slot ({format_span(answer.took_s)})"
            f"{_format_stuck(answer.needs_restart)}"
        )
    failed = f"{later}, which failed" if later else "reload failed"
    return f"{failed}, after {format_span(answer.took_s)}: {answer.reason}"


def _format_stuck(keys: Sequence[str]) -> str:
    if not keys:
        return ""
    return f"\nas before until the service is started anew: {', '.join(keys)}"


def format_scale(answer: ScaleAnswer) -> str:
    """Write what was wanted before, and now."""
    if answer.before == answer.count:
        return f"{count_of(answer.count, 'worker')}, as before"
    return f"{count_of(answer.count, 'worker')} wanted, {answer.before} before"


def format_recycle(answer: RecycleAnswer) -> str:
    """Write who is replaced, one line for each slot."""
    return "\n".join(map(_format_recycled, answer.slots))


def _format_recycled(recycled: Recycled) -> str:
    slot, pid = recycled.slot, recycled.pid
    if pid is None:
        return f"slot {slot} has no worker: one is tried at once"
    return f"slot {slot}: pid {pid} drains when its successor is ready"


def format_park(answer: ParkAnswer) -> str:
    """Write what becomes of the service."""
    if not answer.is_parked:
        return "resumed: a worker starts in each slot"
    if answer.waits_for:
        return f"will be parked when the {answer.waits_for} is over"
    return "parked: the workers drain, new connections wait; `resume` ends it"


def describe_failures(slot: SlotAnswer) -> str:
    """Say how a slot's workers have failed, and when; "" when none has lately.

    The slot is the subject: ``slot 3`` stands before it.
    """
    if not slot.failures:
        return ""
    ago = "" if slot.failed_s is None else f" {format_span(slot.failed_s)} ago"
    if not slot.is_failing:
        return f"failed once{ago}: {slot.failure}"
    return f"fails, {slot.failures} times in a row, the last{ago}: {slot.failure}"


def format_config(answer: ConfigAnswer) -> str:
    """Write the settings as a file, then what waits for a restart."""
    lines = [answer.text.rstrip()]
    if answer.changed:
        lines += ["", *(f"# Changed at run time: {each}" for each in answer.changed)]
    if answer.needs_restart:
        keys = ", ".join(answer.needs_restart)
        text = f"# Changed since the start, and not in force before the next: {keys}"
        lines += ["", text]
    return "\n".join(lines)


def format_stacks(answer: StackAnswer) -> str:
    """Write where each worker is, and what still imports the app."""
    imports = map(_format_import, answer.forkservers)
    return "\n\n".join([*map(_format_stack, answer.workers), *imports])


def _format_import(forkserver: ForkserverStack) -> str:
    head = (
        f"== forkserver, pid {forkserver.pid}, generation {forkserver.generation}, "
        "importing"
    )
    where = find_import(forkserver.text)
    text = indent(fold_own_frames(forkserver.text.strip()), "  ")
    return "\n".join([head, where, text] if where else [head, text])


def _format_stack(worker: WorkerStack) -> str:
    head = (
        f"== slot {worker.slot}, pid {worker.pid}, generation {worker.generation}, "
        f"{worker.state}"
    )
    # Indented: a line of its text is never taken for the head of another worker.
    text = indent(fold_own_frames(worker.text.strip()), "  ")
    if not worker.text:
        return f"{head}\nIt says nothing: it is stopped, or just being made."
    if not worker.is_whole:
        text += "\nIts tasks cannot be seen: C code computes, or it is stopped."
    return f"{head}\n{text}"


def format_bar(done: int, total: int, width: int = 20) -> str:
    """Draw how much is done: ``[#####---------------] 1 of 4``."""
    filled = width * done // max(total, 1)
    return f"[{'#' * filled}{'-' * (width - filled)}] {done} of {total}"


def format_upgrade(answer: UpgradeAnswer, *, is_check: bool) -> str:
    """Write what became of an upgrade."""
    span = format_span(answer.took_s)
    if not answer.is_ok:
        return f"no upgrade, the running code goes on: {answer.reason}"
    if is_check:
        return f"blazeio {answer.version} could take over ({span})"
    return f"upgraded: blazeio {answer.version} has taken over ({span})"


# Tables that fit a terminal: the least important columns go first. Pure.


RowT = TypeVar("RowT")
_WIDE = 100
"""From this width on there are two spaces between columns, below only one."""
_NOTE_CHARS = 18  # "adopted by slot 12"; what is longer may be cut
"""A note is not cut below this before a column goes."""


class Column(Struct, Generic[RowT], frozen=True):
    """One column.

    Attributes:
        head: Above it.
        write: Gives the cell of a row.
        rank: The higher, the earlier it goes; 0 never does.
        is_text: To the left; numbers stand to the right.
    """

    head: str
    write: Callable[[RowT], str]
    rank: int = 0
    is_text: bool = False


def fit_table(
    columns: Sequence[Column[RowT]],
    rows: Sequence[RowT],
    note: Callable[[RowT], str],
    width: int,
) -> list[str]:
    """Write a table, its heads first, one line for each row.

    Args:
        columns: In their order.
        rows: May be none.
        note: What stands behind a row; it is cut where the line ends.
        width: Of the terminal.
    """
    notes = [note(row) for row in rows]
    wanted = min(max(map(len, notes), default=0), _NOTE_CHARS)
    gap = "  " if width >= _WIDE else " "
    kept = list(columns)
    while True:
        cells = [[column.write(row) for column in kept] for row in rows]
        sizes = [
            max(len(column.head), *(len(line[at]) for line in cells), 0)
            for at, column in enumerate(kept)
        ]
        used = sum(sizes) + len(gap) * (len(kept) - 1)
        last = max(kept, key=lambda column: column.rank)
        if used + (len(gap) + wanted if wanted else 0) <= width or not last.rank:
            break
        kept.remove(last)
    heads = [column.head for column in kept]
    lines = [heads, *cells]
    texts = [_join(line, kept, sizes, gap) for line in lines]
    return [
        (f"{text}{gap}{words}" if words else text).rstrip()[:width]
        for text, words in zip(texts, ["", *notes], strict=True)
    ]


def _join(
    cells: Sequence[str],
    columns: Sequence[Column[RowT]],
    sizes: Sequence[int],
    gap: str,
) -> str:
    return gap.join(
        cell.ljust(size) if column.is_text else cell.rjust(size)
        for cell, column, size in zip(cells, columns, sizes, strict=True)
    )


# Events as a person reads them.


def format_events(answer: EventsAnswer) -> str:
    """Write each, the oldest first."""
    return "\n".join(map(format_event_line, answer.events))


def format_event_line(event: EventRecord) -> str:
    """Write one with its date and local time; a traceback below it."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at_s))
    identity = format_identity(event)
    what = f"{event.event} {identity}".rstrip()
    text = escape_line(event.text)
    line = f"{at}.{int(event.at_s % 1 * 1000):03d} {event.level:7} {what}: {text}"
    return f"{line}\n{continue_lines(event.traceback)}" if event.traceback else line
