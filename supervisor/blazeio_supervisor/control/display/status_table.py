"""A service's status as a table of plain text."""

from blazeio_supervisor.control.answers import SlotAnswer, StatusAnswer, WorkerAnswer
from blazeio_supervisor.control.display.sentences import format_progress
from blazeio_supervisor.control.display.units import format_bytes, format_span

_HEADS = (
    "slot", "pid", "state", "gen", "age", "in flight", "conns", "requests", "lag",
    "memory",
)  # fmt: skip
_TEXT_COLUMNS = {2}  # the rest are numbers, to the right
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


def format_status(status: StatusAnswer) -> str:
    """Write the whole status, in at most 80 columns but for notes."""
    state = "" if status.has_served else ", starting"
    if status.is_parked:
        state = ", parked: connections wait"
    if status.is_leaving:
        state = ", leaving: not ready, still serving"
    elif status.is_stopping:
        state = ", stopping"
    lines = [
        f"{_describe_name(status)}: master pid {status.pid}, "
        f"generation {status.generation}, up {format_span(status.age_s)}{state}",
        f"  {' '.join(status.addresses) or 'no address yet'}",
        f"  {_LISTENERS[status.listeners]}, "
        f"{_STEERING[status.steering] if status.is_steered else 'not steered'}",
        f"  {_LOADING[status.loading]}",
    ]
    if status.reload is not None:
        lines.append(f"  reload: {format_progress(status.reload)}")
    return "\n".join([*lines, "", *_format_table(status)])


def _describe_name(status: StatusAnswer) -> str:
    if status.name == status.app:
        return status.app
    return f"{status.name} ({status.app})"


def _format_table(status: StatusAnswer) -> list[str]:
    rows: list[tuple[tuple[str, ...], str]] = [(_HEADS, "")]
    for slot in status.slots:
        workers = [worker for worker in status.workers if worker.slot == slot.slot]
        if not any(worker.role == "owner" for worker in workers):
            rows.append((_empty_row(slot), _note_empty(slot)))
        rows += [(_worker_row(each), _note_worker(each, slot)) for each in workers]
    widths = [max(len(cells[at]) for cells, _ in rows) for at in range(len(_HEADS))]
    lines = []
    for cells, note in rows:
        padded = [
            cell.ljust(width) if at in _TEXT_COLUMNS else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join([*padded, note]).rstrip())
    return lines


def _empty_row(slot: SlotAnswer) -> tuple[str, ...]:
    state = "parked" if slot.is_parked else "empty"
    return (str(slot.slot), "-", state, *["-"] * (len(_HEADS) - 3))


def _worker_row(worker: WorkerAnswer) -> tuple[str, ...]:
    return (
        str(worker.slot),
        "-" if worker.pid is None else str(worker.pid),
        worker.state,
        str(worker.generation),
        format_span(worker.age_s),
        str(worker.in_flight),
        str(worker.connections),
        str(worker.requests),
        f"{worker.lag_s * 1000:.1f} ms",
        format_bytes(worker.own_bytes),
    )


def _note_empty(slot: SlotAnswer) -> str:
    notes = _note_slot(slot)
    if slot.failures:
        notes.append(f"{slot.failures} failure(s), retry in {slot.retry_in_s:.1f} s")
    return ", ".join(notes)


def _note_worker(worker: WorkerAnswer, slot: SlotAnswer) -> str:
    if worker.role != "owner":
        return worker.role
    notes = _note_slot(slot)
    if worker.is_late:
        notes.append("late")
    if worker.retire_reason:
        notes.append(f"to be replaced: {worker.retire_reason}")
    return ", ".join(notes)


def _note_slot(slot: SlotAnswer) -> list[str]:
    if slot.adopted_by is None:
        return []
    return [f"adopted by slot {slot.adopted_by}"]
