"""How an order went, in one line."""

from blazeio_supervisor.control.answers import (
    Progress,
    RecycleAnswer,
    ReloadAnswer,
    ScaleAnswer,
)
from blazeio_supervisor.control.display.units import format_span


def format_progress(progress: Progress) -> str:
    """Write one step of a reload."""
    step = progress.step.replace("_", " ")
    count = f"{progress.replaced} of {progress.slots} slots"
    return f"{step}, generation {progress.generation} in {count}"


def format_reload(answer: ReloadAnswer) -> str:
    """Write how a reload ended."""
    if not answer.is_over:
        return "reload asked for; `reload --wait` or the log tells how it ends"
    if answer.is_ok:
        return (
            f"reloaded: generation {answer.generation} serves in every slot "
            f"({format_span(answer.took_s)})"
        )
    return f"reload failed, after {format_span(answer.took_s)}: {answer.reason}"


def format_scale(answer: ScaleAnswer) -> str:
    """Write what was wanted before, and now."""
    if answer.before == answer.count:
        return f"{answer.count} worker(s), as before"
    return f"{answer.count} worker(s) wanted, {answer.before} before"


def format_recycle(answer: RecycleAnswer) -> str:
    """Write who is replaced."""
    if answer.pid is None:
        return f"slot {answer.slot} has no worker: one is tried at once"
    return f"slot {answer.slot}: pid {answer.pid} drains when its successor is ready"
