"""How an order went, in one line."""

from collections.abc import Sequence
from textwrap import indent

from blazeio_supervisor.control.answers.config import ConfigAnswer
from blazeio_supervisor.control.answers.orders import (
    ForkserverStack,
    ParkAnswer,
    RecycleAnswer,
    Recycled,
    ReloadAnswer,
    ScaleAnswer,
    StackAnswer,
    UpgradeAnswer,
    WorkerStack,
)
from blazeio_supervisor.control.answers.status import (
    Progress,
    SlotAnswer,
)
from blazeio_supervisor.control.display.units import format_span
from blazeio_supervisor.fleet.telling.words import count_of
from blazeio_supervisor.stacks.text import find_import, fold_own_frames

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
