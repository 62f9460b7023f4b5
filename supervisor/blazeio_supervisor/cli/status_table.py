"""A service's status as lines of plain text."""

from collections.abc import Callable

from msgspec import Struct

from blazeio_supervisor.cli.output import (
    Column,
    describe_failures,
    fit_table,
    format_bytes,
    format_count,
    format_ms,
    format_progress,
    format_span,
)
from blazeio_supervisor.ipc.control_api import (
    SlotAnswer,
    StatusAnswer,
    WorkerAnswer,
)

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
"""Of so many slots it is said how they failed."""


class StatusLine(Struct, frozen=True):
    """One line of the table: a worker, or a slot without one.

    Attributes:
        is_parked: Nobody shall serve there, for the slot's or the service's sake.
    """

    slot: SlotAnswer
    worker: WorkerAnswer | None
    is_parked: bool = False


def format_status(status: StatusAnswer, width: int = 80) -> str:
    """Write the whole status, in at most so many columns."""
    lines = [
        *describe_service(status, width),
        f"  {_LOADING[status.loading]}",
        "",
        *fit_table(_COLUMNS, list_lines(status), describe_line, width),
        *_advise(status),
    ]
    return "\n".join(lines)


def _advise(status: StatusAnswer) -> list[str]:
    """Say what to do next, where something is wrong."""
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
    """Say which service it is, where it serves and what it is about.

    A name that leaves no room for the rest has a line of its own.
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
    """Give a line to each worker, and to each slot that has no owner."""
    lines = []
    for slot in status.slots:
        workers = [worker for worker in status.workers if worker.slot == slot.slot]
        if not any(worker.role == "owner" for worker in workers):
            is_parked = slot.is_parked or status.is_parked
            lines.append(StatusLine(slot, None, is_parked))
        lines += [StatusLine(slot, worker) for worker in workers]
    return lines


def describe_line(line: StatusLine) -> str:
    """Say what is odd of it; "" when nothing is."""
    slot, worker = line.slot, line.worker
    if worker is None:
        notes = _note_slot(slot)
        if slot.failures and not line.is_parked:
            notes.append(f"next try in {slot.retry_in_s:.1f} s")
        return ", ".join(notes)
    if worker.role != "owner":
        return worker.role
    notes = _note_slot(slot)
    if worker.retire_reason:
        notes.append(f"to be replaced: {worker.retire_reason}")
    return ", ".join(notes)


def name_state(line: StatusLine) -> str:
    """Say what it is: a state of its worker, ``late``, ``parked`` or ``empty``."""
    worker = line.worker
    if worker is not None:
        is_late = worker.is_late and worker.state == "serving"
        return "late" if is_late else worker.state
    return "parked" if line.is_parked else "empty"


def write_queue(line: StatusLine) -> str:
    """Write how many wait for the owner of the slot, and how many may."""
    slot = line.slot
    is_guest = line.worker is not None and line.worker.role != "owner"
    if slot.queue_length is None or is_guest:
        return "-"
    return f"{slot.queue_length}/{slot.queue_limit}"


def find_lag(worker: WorkerAnswer) -> float:
    """Tell how late its loop is, seconds: of one that is late, by now."""
    return worker.silent_s if worker.is_late else worker.lag_s


def write_in_flight(worker: WorkerAnswer) -> str:
    """Write how many it answers; of one that is late, how many when it last said so."""
    return f"{worker.in_flight}?" if worker.is_late else str(worker.in_flight)


def write_pid(line: StatusLine) -> str:
    """Write its pid, when it has one."""
    pid = None if line.worker is None else line.worker.pid
    return "-" if pid is None else str(pid)


def of_worker(write: Callable[[WorkerAnswer], str]) -> Callable[[StatusLine], str]:
    """Write a cell of a worker; of a slot without one: a dash."""
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
    Column("conns", of_worker(lambda w: str(w.connections))),
    Column("requests", of_worker(lambda w: format_count(w.requests)), rank=2),
    Column("queue", write_queue, rank=1),
    Column("lag", of_worker(lambda w: format_ms(find_lag(w)))),
    Column("USS", of_worker(lambda w: format_bytes(w.own_bytes)), rank=3),
    Column("weight", _write_weight, rank=5),
)


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


def _note_slot(slot: SlotAnswer) -> list[str]:
    if slot.adopted_by is None:
        return []
    return [f"adopted by slot {slot.adopted_by}"]
