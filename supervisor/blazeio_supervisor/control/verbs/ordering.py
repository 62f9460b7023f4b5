"""The verbs that order."""

import click
import msgspec

from blazeio_supervisor.control.answers import (
    Progress,
    RecycleAnswer,
    RecycleOrder,
    ReloadAnswer,
    ReloadOrder,
    ScaleAnswer,
    ScaleOrder,
    StopAnswer,
)
from blazeio_supervisor.control.client import Client, watched_end
from blazeio_supervisor.control.display.sentences import (
    format_progress,
    format_recycle,
    format_reload,
    format_scale,
)
from blazeio_supervisor.control.verbs.declaring import (
    ProgressLine,
    Target,
    interruptible,
    show,
    verb,
)
from blazeio_supervisor.errors import ExitCode, SupervisorError

_FAILED = ExitCode.CRASHED
_STEPS: msgspec.json.Decoder[Progress | ReloadAnswer] = msgspec.json.Decoder(
    Progress | ReloadAnswer
)


@verb(click.option("--wait", is_flag=True, help="Until it is over; tell how it went."))
def reload(target: Target, is_json: bool, wait: bool) -> int:
    """Load the code anew, worker by worker, without losing a request.

    With --wait the exit code tells whether it worked. 1: the old code goes on, and
    what the new code raised is shown.
    """
    client = target.find()
    if not wait:
        asked = client.ask("POST", "/reload", ReloadAnswer, ReloadOrder())
        return show(asked, is_json, format_reload)
    with interruptible("the reload goes on"):
        answer = _follow_reload(client)
    if answer.is_ok or is_json:
        show(answer, is_json, format_reload)
        return ExitCode.OK if answer.is_ok else _FAILED
    click.echo(answer.output, err=True, nl=False)
    raise SupervisorError(format_reload(answer))


@verb(click.argument("count", type=int, metavar="N"))
def scale(target: Target, is_json: bool, count: int) -> int:
    """Have N workers from now on, until the next start."""
    order = ScaleOrder(count)
    answer = target.find().ask("POST", "/scale", ScaleAnswer, order)
    return show(answer, is_json, format_scale)


@verb(click.argument("slot", type=int))
def recycle(target: Target, is_json: bool, slot: int) -> int:
    """Replace the worker of one slot, with the same code.

    The new one is ready before the old one drains.
    """
    order = RecycleOrder(slot)
    answer = target.find().ask("POST", "/recycle", RecycleAnswer, order)
    return show(answer, is_json, format_recycle)


@verb(click.option("--no-wait", is_flag=True, help="Do not wait for the end."))
def stop(target: Target, is_json: bool, no_wait: bool) -> int:
    """Stop the service: refuse new connections, answer what is in flight.

    Returns when the master is gone, which takes --graceful-timeout of the service
    at most.
    """
    client = target.find()
    with watched_end(client) as end:
        answer = client.ask("POST", "/stop", StopAnswer)
        if not no_wait:
            with interruptible("the service goes on stopping"):
                end.wait()
    what = "is told to stop" if no_wait else "is gone"
    return show(answer, is_json, lambda stopped: f"pid {stopped.pid} {what}")


def _follow_reload(client: Client) -> ReloadAnswer:
    line = ProgressLine()
    try:
        for said in client.follow("/reload", ReloadOrder(wait=True), _STEPS):
            if isinstance(said, ReloadAnswer):
                return said
            line.write(f"reload: {format_progress(said)}")
    finally:
        line.clear()
    raise SupervisorError("the service ended before the reload was over")
