"""The screen of ``top``, as lines with a style each. Pure.

::

    the service: its name, state, addresses           3 lines, 4 in a reload
    the table: heads, a line for each worker, totals  as many as fit
    tasks that run once, messages between workers     where there is room left
    the last message, and what the keys do            2 lines
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from blazeio_supervisor.cli.output import (
    THREADS,
    Column,
    StatusLine,
    choose_columns,
    describe_line,
    describe_service,
    find_lag,
    fit_table,
    format_bytes,
    format_count,
    format_ms,
    format_rate,
    format_step,
    list_broadcasts,
    list_lines,
    list_tasks,
    name_state,
    write_in_flight,
    write_pid,
    write_queue,
    write_threads,
)
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
    WorkerAnswer,
)

# Rates between two looks at a service.
#
# The counts of a worker are found by its pid, so those of a new worker begin at zero;
# the requests of a slot go on over the lives of its workers.


PERCENTILE = 0.99


class WorkerRates(Struct, frozen=True):
    """The rates of one worker.

    Attributes:
        requests: Requests that it began in a second.
        cpu: Cores in use; None when that cannot be seen.
        lag_p99_s: 99 of 100 beats of its loop were less late than this; infinite
            beyond the last bound.
    """

    requests: float
    cpu: float | None
    lag_p99_s: float


class Rates(Struct, frozen=True):
    """The rates of the whole service.

    Attributes:
        by_pid: The rates of each worker that is in both looks.
        requests: Requests in a second, of all slots, also of workers that have died.
        broadcasts: Messages between workers that were sent in a second; None: it is
            not known.
    """

    by_pid: dict[int, WorkerRates] = field(default_factory=dict)
    requests: float = 0.0
    broadcasts: float | None = None


def measure_rates(before: StatusAnswer | None, after: StatusAnswer) -> Rates:
    """Compare two looks; nothing is known without an earlier one of the same master."""
    # Another master, or one that was restarted under the same pid, counts from the
    # start.
    if before is None or before.pid != after.pid or after.age_s <= before.age_s:
        return Rates()
    span_s = after.age_s - before.age_s
    earlier = {each.pid: each for each in before.workers if each.pid is not None}
    bounds_s = after.lag_bounds_s
    by_pid = {
        each.pid: _compare(earlier[each.pid], each, span_s, bounds_s)
        for each in after.workers
        if each.pid is not None and each.pid in earlier
    }
    messages = after.broadcasts.messages - before.broadcasts.messages
    return Rates(
        by_pid,
        requests=max(_count(after) - _count(before), 0) / span_s,
        broadcasts=max(messages, 0) / span_s,
    )


def _compare(
    before: WorkerAnswer, after: WorkerAnswer, span_s: float, bounds_s: Sequence[float]
) -> WorkerRates:
    cpu = None
    if before.cpu_s is not None and after.cpu_s is not None:
        cpu = max(after.cpu_s - before.cpu_s, 0.0) / span_s
    requests = max(after.requests - before.requests, 0) / span_s
    # Not ``strict``: an upgrade keeps the pid, and the next version may have other
    # buckets.
    counts = [
        max(new - old, 0)
        for old, new in zip(before.lag_counts, after.lag_counts, strict=False)
    ]
    return WorkerRates(requests, cpu, find_percentile(counts, bounds_s))


def find_percentile(counts: Sequence[int], bounds_s: Sequence[float]) -> float:
    """Return the bound below which 99 of 100 fall; 0.0 where nothing was counted."""
    total, seen = sum(counts), 0
    if not total:
        return 0.0
    for count, bound_s in zip(counts, [*bounds_s, float("inf")], strict=False):
        seen += count
        if seen >= PERCENTILE * total:
            return bound_s
    return float("inf")


def _count(status: StatusAnswer) -> int:
    return sum(slot.requests for slot in status.slots)


SORT_KEYS = ("slot", "requests", "in-flight", "connections", "lag", "cpu", "memory")
"""What the lines may be sorted by."""
PLAIN, HEAD, STRONG, GOOD, BUSY, BAD, FAINT = (
    "", "bold underline", "bold", "green", "yellow", "bold red", "dim",
)  # fmt: skip
KEYS = "r reload  +/- scale  c recycle  s stack  o sort  p park  w resume  q quit"
SHORT_KEYS = "r reload  +/- scale  c recycle  s stack  q quit"
_STYLES = {
    "serving": GOOD,
    "late": BAD,
    "parked": FAINT,
    "empty": BAD,
    "terminating": BAD,
    "killing": BAD,
}
_HEADS_AND_TOTALS = 2


class Styled(Struct, frozen=True):
    """One line of the screen; the style is a word of rich."""

    text: str
    style: str = PLAIN


class View(Struct, frozen=True):
    """All that is drawn.

    Attributes:
        status: The status as of the last look; None before the first look.
        rates: The rates as of the last look.
        slot: The chosen slot, which the keys are for.
        said: The last message: the outcome of an order, a question, an error.
        is_bad: Whether the message is an error.
        is_gone: Whether the service does not answer: the rest is old.
        sort: What the lines are sorted by, one of ``SORT_KEYS``.
    """

    status: StatusAnswer | None = None
    rates: Rates = field(default_factory=Rates)
    slot: int = 0
    said: str = ""
    is_bad: bool = False
    is_gone: bool = False
    sort: str = SORT_KEYS[0]


class _Row(Struct, frozen=True):
    """One line of the table, with its cells by the name of their column."""

    cells: Mapping[str, str]
    note: str = ""
    slot: int | None = None
    style: str = PLAIN


def draw(view: View, width: int, height: int) -> list[Styled]:
    """Draw a screen of this size."""
    if view.status is None:
        return [Styled("looking ..."[:width], FAINT)]
    heads = _draw_service(view.status, width)
    foot = _draw_foot(view, width)
    room = height - len(heads) - len(foot) - _HEADS_AND_TOTALS
    count = len(list_lines(view.status))
    gap = [Styled("")] if count + 2 <= room else []  # rows are worth more
    table = _draw_table(view, view.status, width, max(room - 2 * len(gap), 1))
    left = room - 2 * len(gap) - count
    lines = [*heads, *gap, *table, *_draw_more(view, view.status, width, left)]
    lines += [*gap, *foot]
    if view.is_gone:
        lines = [*(Styled(line.text, FAINT) for line in lines[:-2]), *lines[-2:]]
    return lines[:height]


def list_slots(view: View) -> list[int]:
    """Return the slots in the order of their lines, each once."""
    if view.status is None:
        return []
    lines = _sort_lines(view, view.status)
    return list(dict.fromkeys(line.slot.slot for line in lines))


def _sort_lines(view: View, status: StatusAnswer) -> list[StatusLine]:
    """Sort the lines of the table: by the slot, else the greatest first."""
    lines = list_lines(status)
    if view.sort == SORT_KEYS[0]:
        return lines
    return sorted(lines, key=lambda line: _weigh(view, line), reverse=True)


def _weigh(view: View, line: StatusLine) -> float:
    worker = line.worker
    if worker is None:
        return -1.0
    rates = view.rates.by_pid.get(worker.pid or 0)
    if rates is not None:
        by_rate = {
            "requests": rates.requests,
            "lag": rates.lag_p99_s,
            "cpu": rates.cpu or 0.0,
        }
        if view.sort in by_rate:
            return by_rate[view.sort]
    return {
        "in-flight": float(worker.in_flight),
        "connections": float(worker.connections),
        "memory": float(worker.own_bytes or 0),
    }.get(view.sort, 0.0)


def _draw_service(status: StatusAnswer, width: int) -> list[Styled]:
    first, *others = describe_service(status, width)
    if status.reload is not None:
        others[-1] = f"  reload: {format_step(status.reload)}"
    styles = [STRONG, *(PLAIN for _ in others)]
    if status.reload is not None:
        styles[-1] = BUSY
    return [
        Styled(text[:width], style)
        for text, style in zip([first, *others], styles, strict=True)
    ]


def _draw_more(view: View, status: StatusAnswer, width: int, room: int) -> list[Styled]:
    """Draw what only some services have, below the table; as much as there is room."""
    sections = [list_tasks(status), list_broadcasts(status, view.rates.broadcasts)]
    lines = [line for section in sections if section for line in ("", *section)]
    return [Styled(line[:width]) for line in lines[: max(room, 0)]]


def _draw_foot(view: View, width: int) -> list[Styled]:
    keys = KEYS if len(KEYS) <= width else SHORT_KEYS
    style = BAD if view.is_bad or view.is_gone else STRONG
    return [Styled(view.said[:width], style), Styled(keys[:width], FAINT)]


def _draw_table(
    view: View, status: StatusAnswer, width: int, room: int
) -> list[Styled]:
    rows = [_make_row(view, line) for line in _sort_lines(view, status)]
    shown, hidden = _scroll(rows, view.slot, room)
    totals = _add_up(status, view.rates, f"({hidden} more)" if hidden else "")
    head, *texts, total = fit_table(
        choose_columns(_COLUMNS, status), [*shown, totals], lambda row: row.note, width
    )
    lines = [
        Styled(text.ljust(width) if row.slot == view.slot else text, row.style)
        for row, text in zip(shown, texts, strict=True)
    ]
    return [Styled(head.ljust(width), HEAD), *lines, Styled(total, STRONG)]


def _scroll(rows: Sequence[_Row], slot: int, room: int) -> tuple[Sequence[_Row], int]:
    """Keep the part around the chosen slot, and count what is left out."""
    if len(rows) <= room:
        return rows, 0
    at = next((at for at, row in enumerate(rows) if row.slot == slot), 0)
    # The chosen slot stays in the middle, but for the first and the last rows.
    first = min(max(at - room // 2, 0), len(rows) - room)
    return rows[first : first + room], len(rows) - room


def _make_row(view: View, line: StatusLine) -> _Row:
    slot, worker = line.slot, line.worker
    rates = None
    if worker is not None and worker.pid is not None:
        rates = view.rates.by_pid.get(worker.pid)
    is_owner = worker is not None and worker.role == "owner"
    cells = {
        "slot": str(slot.slot),
        "pid": write_pid(line),
        "state": name_state(line),
        "queue": write_queue(line),
        "weight": str(slot.weight) if is_owner else "-",
    }
    if worker is not None:
        cells |= _write_worker(worker, rates)
    style = _STYLES.get(name_state(line), BUSY)
    if slot.slot == view.slot:
        style = f"{style} reverse"
    return _Row(cells, _note(line), slot.slot, style)


def _write_worker(worker: WorkerAnswer, rates: WorkerRates | None) -> dict[str, str]:
    cells = {
        "gen": str(worker.generation),
        "in flight": write_in_flight(worker),
        THREADS: write_threads(worker),
        "conns": str(worker.connections),
        "USS": format_bytes(worker.own_bytes),
    }
    if rates is None:
        return cells
    return cells | {
        "req/s": format_rate(rates.requests),
        "cpu": "-" if rates.cpu is None else f"{rates.cpu:.0%}",
        "lag p99": _write_lag(worker, rates.lag_p99_s),
    }


def _write_lag(worker: WorkerAnswer, lag_s: float) -> str:
    """Write the bound of a bucket; the lag itself is below it."""
    if worker.is_late:
        return format_ms(find_lag(worker))
    if lag_s == float("inf"):
        return ">5 s"
    bound = f"{lag_s:g} s" if lag_s >= 1 else f"{lag_s * 1000:g} ms"
    return f"<{bound}" if lag_s else "-"


def _note(line: StatusLine) -> str:
    note, worker = describe_line(line), line.worker
    if worker is not None and worker.is_late and worker.longest:
        return f"{note}: {worker.longest} for {format_ms(worker.longest_s)}"
    return note


def _add_up(status: StatusAnswer, rates: Rates, note: str) -> _Row:
    workers = status.workers
    cpus = [each.cpu for each in rates.by_pid.values() if each.cpu is not None]
    lengths = [slot.queue_length for slot in status.slots]
    sizes = [each.own_bytes for each in workers]
    known = [size for size in sizes if size is not None]
    cells = {
        **dict.fromkeys(("pid", "gen", THREADS, "lag p99", "weight"), ""),
        "slot": "all",
        "state": f"{sum(w.state == 'serving' for w in workers)} serve",
        "req/s": format_rate(rates.requests),
        "in flight": format_count(sum(each.in_flight for each in workers)),
        "conns": format_count(sum(each.connections for each in workers)),
        "queue": str(sum(length or 0 for length in lengths)),
        "cpu": f"{sum(cpus):.0%}" if cpus else "-",
        "USS": format_bytes(sum(known)) if known else "-",
    }
    if None in lengths:
        del cells["queue"]
    return _Row(cells, note)


def _make_column(name: str, rank: int = 0, *, is_text: bool = False) -> Column[_Row]:
    return Column(name, lambda row: row.cells.get(name, "-"), rank, is_text)


_COLUMNS = (
    _make_column("slot"),
    _make_column("pid", 3),
    _make_column("state", is_text=True),
    _make_column("gen", 1),
    _make_column("req/s"),
    _make_column("in flight"),
    _make_column(THREADS),
    _make_column("conns", 2),
    _make_column("lag p99"),
    _make_column("queue"),
    _make_column("cpu"),
    _make_column("USS", 4),
    _make_column("weight", 5),
)
