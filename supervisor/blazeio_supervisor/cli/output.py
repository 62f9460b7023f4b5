"""What several verbs print: numbers, tables that fit a terminal, a service's status.

All but ``say`` and ``discard`` is pure.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Generic, TextIO, TypeVar

import click
from msgspec import Struct

from blazeio_supervisor.ipc.status_api import (
    Progress,
    SlotAnswer,
    StatusAnswer,
    TaskAnswer,
    WorkerAnswer,
)

# Standard error.


def say(text: str, *, ends_line: bool = True) -> None:
    """Write to standard error; where that cannot be written, the exit code counts."""
    try:
        click.echo(text, err=True, nl=ends_line)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Let nothing more be written to a stream that has failed.

    At the exit Python writes what is left in the buffer: it would fail again, and
    the exit code would be 120.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # The stream object stays in use; below it is now a file that takes everything.
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


# Numbers as a person reads them.


_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3


def format_span(seconds: float) -> str:
    """Write a span of time by its two largest units: ``2 h 3 m``."""
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
    """Write a size in octets with a binary unit; None is a dash."""
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
    """Write a rate; below ten with one decimal."""
    return f"{rate:.1f}" if 0 < rate < 10 else format_count(rate)


def format_ms(seconds: float) -> str:
    """Write a short span of time: ``0.4 ms``, ``120 ms``, ``2.0 s``."""
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
    """Write the step that a reload has reached."""
    step = _name_step(progress)
    count = f"{progress.replaced} of {progress.slots} slots"
    return f"generation {progress.generation}, in {count}: {step}"


def format_step(progress: Progress) -> str:
    """Write the step of a reload with a bar, for a line that is written over."""
    bar = format_bar(progress.replaced, progress.slots)
    step = _name_step(progress)
    return f"{bar} slots, generation {progress.generation}: {step}"


def describe_failures(slot: SlotAnswer) -> str:
    """Say how the workers of a slot have failed, and when; "" when none has lately.

    It completes a sentence that begins with the slot: ``slot 3``.
    """
    if not slot.failures:
        return ""
    ago = "" if slot.failed_s is None else f" {format_span(slot.failed_s)} ago"
    if not slot.is_failing:
        return f"failed once{ago}: {slot.failure}"
    return f"fails, {slot.failures} times in a row, the last{ago}: {slot.failure}"


def format_bar(done: int, total: int, width: int = 20) -> str:
    """Draw how much is done: ``[#####---------------] 1 of 4``."""
    filled = width * done // max(total, 1)
    return f"[{'#' * filled}{'-' * (width - filled)}] {done} of {total}"


# Tables that fit a terminal: the least important columns are left out first.


RowT = TypeVar("RowT")
_WIDE = 100
"""From this width on there are two spaces between columns, below only one."""
_NOTE_CHARS = 18  # "adopted by slot 12"; what is longer may be cut
"""Before a note is cut to fewer characters, a column is left out."""


class Column(Struct, Generic[RowT], frozen=True):
    """One column of a table.

    Attributes:
        head: The heading of the column.
        write: Returns the cell of a row.
        rank: In a narrow terminal the column with the highest rank is left out first;
            one with rank 0 never is.
        is_text: Text is aligned to the left, a number to the right.
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
    """Write a table: the headings, then one line for each row.

    Args:
        columns: The columns, in their order.
        rows: The rows; there may be none.
        note: Returns what stands behind a row; it is cut where the line ends.
        width: The width of the terminal.
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


# The status of a service as lines of plain text.


_LISTENERS = {
    "unbound": "not bound yet",
    "slots": "a queue per slot",
    "shared": "one shared queue",
    "slots and shared": "a queue per slot, unix: one shared queue",
}
_STEERING = {
    "load": "steered by load",
    "even": "steered evenly",
    "off": "not steered",
}
_LOADING = {
    "once": "app imported once, workers are forks of it",
    "each worker": "app imported by each worker: a respawn runs the code on disk",
}


_ADVICE_LINES = 4
"""For how many slots the status says how their workers failed."""


THREADS = "threads"
"""The heading of the column of what only a service of WSGI apps has."""


class StatusLine(Struct, frozen=True):
    """One line of the table: a worker, or a slot without one.

    Attributes:
        is_parked: No worker is wanted there: the slot is scaled away, or the service
            is parked.
    """

    slot: SlotAnswer
    worker: WorkerAnswer | None
    is_parked: bool = False


def format_status(status: StatusAnswer, width: int = 80) -> str:
    """Write the whole status in lines of at most this width."""
    lines = [
        *describe_service(status, width),
        f"  {_LOADING[status.loading]}",
        "",
        *fit_table(
            choose_columns(_COLUMNS, status), list_lines(status), describe_line, width
        ),
        *_set_off(list_tasks(status)),
        *_set_off(list_broadcasts(status)),
        *_advise(status),
    ]
    return "\n".join(lines)


def _set_off(lines: list[str]) -> list[str]:
    return ["", *lines] if lines else []


def list_tasks(status: StatusAnswer) -> list[str]:
    """Write the tasks that run once, if there are any."""
    if not status.tasks:
        return []
    where = "nowhere" if status.task_slot is None else f"in slot {status.task_slot}"
    return [f"tasks that run once, {where}:", *map(_describe_task, status.tasks)]


def list_broadcasts(status: StatusAnswer, rate: float | None = None) -> list[str]:
    """Write what became of messages between workers, if there were any.

    Args:
        status: Of the service.
        rate: How many are sent in a second now; None: it is not known.
    """
    counts = status.broadcasts
    if not counts.messages:
        return []
    a_second = "" if rate is None else f" ({format_rate(rate)}/s)"
    text = (
        f"broadcasts: {format_count(counts.messages)} sent{a_second}, "
        f"{format_count(counts.delivered)} delivered"
    )
    if counts.dropped:
        text += f", {format_count(counts.dropped)} dropped"
    return [text]


def _describe_task(task: TaskAnswer) -> str:
    parts = [task.schedule] if task.schedule else []
    if task.is_running:
        parts.append("runs now")
    elif task.next_in_s is not None:
        parts.append(f"next in {format_span(task.next_in_s)}")
    if task.began_s is not None:
        parts.append(f"began {format_span(task.began_s)} ago")
    if task.failures:
        parts.append(f"{task.failures} of {task.runs} runs failed")
    if task.failure:
        parts.append(f"the last: {task.failure}")
    return f"  {task.name}: {', '.join(parts) or 'not yet'}"


def _advise(status: StatusAnswer) -> list[str]:
    """Write what to do next, where something is wrong."""
    late = [w.slot for w in status.workers if w.is_late and w.state == "serving"]
    lines = []
    if late:
        lines.append(f"slot {late[0]} is late: `stack {late[0]}` shows where it is")
    lines += [
        f"slot {slot.slot} {describe_failures(slot)}"
        for slot in status.slots
        if slot.failures and not slot.is_parked
    ][:_ADVICE_LINES]
    return ["", *lines] if lines else []


def describe_service(status: StatusAnswer, width: int) -> list[str]:
    """Write which service it is, where it serves, and its state.

    A long name has a line of its own.
    """
    name = _describe_name(status)
    master = (
        f"master pid {status.pid}, generation {status.generation}, "
        f"up {format_span(status.age_s)}{_describe_state(status)}"
    )
    whole = f"{name}: {master}"
    lines = [
        *([whole] if len(whole) <= width else [name, f"  {master}"]),
        f"  {' '.join(status.addresses) or 'no address yet'}",
        f"  {_LISTENERS[status.listeners]}, "
        f"{_STEERING[status.steering] if status.is_steered else 'not steered'}",
    ]
    if status.reload is not None:
        lines.append(f"  reload: {format_progress(status.reload)}")
    return lines


def list_lines(status: StatusAnswer) -> list[StatusLine]:
    """Return a line for each worker, and for each slot without an owner."""
    lines = []
    for slot in status.slots:
        workers = [worker for worker in status.workers if worker.slot == slot.slot]
        if not any(worker.role == "owner" for worker in workers):
            is_parked = slot.is_parked or status.is_parked
            lines.append(StatusLine(slot, None, is_parked))
        lines += [StatusLine(slot, worker) for worker in workers]
    return lines


def describe_line(line: StatusLine) -> str:
    """Write what is unusual about a line; "" when nothing is."""
    slot, worker = line.slot, line.worker
    if worker is None:
        notes = _note_slot(slot)
        if slot.failures and not line.is_parked:
            notes.append(f"next try in {slot.retry_in_s:.1f} s")
        return ", ".join(notes)
    if worker.role != "owner":
        return ", ".join([worker.role, *_note_background(worker)])
    notes = _note_slot(slot) + _note_background(worker)
    if worker.retire_reason:
        notes.append(f"to be replaced: {worker.retire_reason}")
    return ", ".join(notes)


def name_state(line: StatusLine) -> str:
    """Name the state of a line: that of its worker, ``late``, ``parked``, ``empty``."""
    worker = line.worker
    if worker is not None:
        is_late = worker.is_late and worker.state == "serving"
        return "late" if is_late else worker.state
    return "parked" if line.is_parked else "empty"


def write_queue(line: StatusLine) -> str:
    """Write how many connections wait in the queue of a slot, and how many may."""
    slot = line.slot
    # Two workers of a slot, while one replaces the other, have one queue: it is shown
    # once.
    is_guest = line.worker is not None and line.worker.role != "owner"
    if slot.queue_length is None or is_guest:
        return "-"
    return f"{slot.queue_length}/{slot.queue_limit}"


def find_lag(worker: WorkerAnswer) -> float:
    """Return how late a worker's loop runs, or for how long it is blocked, seconds."""
    # A loop that is blocked measures nothing: its own figure is that of before.
    return worker.silent_s if worker.is_late else worker.lag_s


def write_in_flight(worker: WorkerAnswer) -> str:
    """Write how many requests a worker answers; with ``?`` as it last said."""
    return f"{worker.in_flight}?" if worker.is_late else str(worker.in_flight)


def write_threads(worker: WorkerAnswer) -> str:
    """Write how many threads of WSGI apps are at work, and what waits for one."""
    if not worker.threads:
        return "-"
    waiting = f" +{format_count(worker.waiting)}" if worker.waiting else ""
    return f"{worker.threads_busy}/{worker.threads}{waiting}"


def write_pid(line: StatusLine) -> str:
    """Write the pid of a line's worker, or a dash."""
    pid = None if line.worker is None else line.worker.pid
    return "-" if pid is None else str(pid)


def of_worker(write: Callable[[WorkerAnswer], str]) -> Callable[[StatusLine], str]:
    """Make the writer of a cell that is a dash for a slot without a worker."""
    return lambda line: "-" if line.worker is None else write(line.worker)


def _write_weight(line: StatusLine) -> str:
    is_owner = line.worker is not None and line.worker.role == "owner"
    return str(line.slot.weight) if is_owner else "-"


_COLUMNS: tuple[Column[StatusLine], ...] = (
    Column("slot", lambda line: str(line.slot.slot)),
    Column("pid", write_pid),
    Column("state", name_state, is_text=True),
    Column("gen", of_worker(lambda w: str(w.generation))),
    Column("age", of_worker(lambda w: format_span(w.age_s)), rank=4),
    Column("in flight", of_worker(write_in_flight)),
    Column(THREADS, of_worker(write_threads)),
    Column("conns", of_worker(lambda w: str(w.connections))),
    Column("requests", of_worker(lambda w: format_count(w.requests)), rank=2),
    Column("queue", write_queue, rank=1),
    Column("lag", of_worker(lambda w: format_ms(find_lag(w)))),
    Column("USS", of_worker(lambda w: format_bytes(w.own_bytes)), rank=3),
    Column("weight", _write_weight, rank=5),
)


def choose_columns(
    columns: tuple[Column[RowT], ...], status: StatusAnswer
) -> list[Column[RowT]]:
    """Return the columns that say something of this service."""
    has_threads = any(worker.threads for worker in status.workers)
    return [each for each in columns if has_threads or each.head != THREADS]


def _describe_state(status: StatusAnswer) -> str:
    if status.is_leaving:
        return ", leaving: not ready, still serving"
    if status.is_stopping:
        return ", stopping"
    if status.dead_listeners:
        return f", NOT ACCEPTING: {'; '.join(status.dead_listeners)}"
    if status.is_parked:
        return ", parked: connections wait"
    if status.will_park:
        return ", to be parked"
    return "" if status.has_served else ", starting"


def _describe_name(status: StatusAnswer) -> str:
    if status.name == status.app:
        return status.app
    return f"{status.name} ({status.app})"


def _note_background(worker: WorkerAnswer) -> list[str]:
    count = worker.background
    return [f"{count} of them after the response"] if count else []


def _note_slot(slot: SlotAnswer) -> list[str]:
    if slot.adopted_by is None:
        return []
    return [f"adopted by slot {slot.adopted_by}"]
