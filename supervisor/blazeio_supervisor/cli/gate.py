"""``status --gate``: may a rollout over several machines go on? Pure."""

from collections.abc import Sequence

from blazeio_supervisor.ipc.status_api import StatusAnswer
from blazeio_supervisor.log.events import EventRecord

_CHANGES = ("reload_ok", "reload_failed", "rolled_back")


def find_gate_reason(answer: StatusAnswer, events: Sequence[EventRecord]) -> str:
    """Find why a rollout over several machines must not go on after this one.

    Args:
        answer: The service now.
        events: What has happened, the oldest first.

    Returns:
        One line; "" when the service takes requests, and new code has held.
    """
    if answer.reload is not None:
        return f"a reload is in progress: {answer.reload.step.replace('_', ' ')}"
    # The last change counts, however old it is: a machine whose last reload has failed
    # must not pass because it is quiet now.
    last = next((each for each in reversed(events) if each.event in _CHANGES), None)
    if last is not None and last.event != "reload_ok":
        return last.text
    failing = [str(each.slot) for each in answer.slots if each.is_failing]
    if failing:
        return f"workers fail again and again: slot {', '.join(failing)}"
    if answer.dead_listeners:
        return answer.dead_listeners[0]
    return "" if answer.is_ready else "the service is not ready"
