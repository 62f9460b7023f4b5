"""The verbs that order."""

import re
import time

import click
import msgspec
from msgspec.structs import replace

from blazeio_supervisor.cli.client import (
    BrokenOffError,
    ControlClient,
    NotAnsweringError,
    watched_end,
)
from blazeio_supervisor.cli.output import (
    format_park,
    format_recycle,
    format_reload,
    format_scale,
    format_span,
    format_step,
    format_upgrade,
)
from blazeio_supervisor.cli.verbs import (
    Failures,
    ProgressLine,
    ServiceTarget,
    count_failures,
    interruptible,
    measure_parking,
    measure_recycling,
    measure_resuming,
    measure_scaling,
    read_slots,
    show,
    verb,
    wait_for,
)
from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError
from blazeio_supervisor.fleet.reasons import count_of
from blazeio_supervisor.ipc.control_api import (
    ParkAnswer,
    Progress,
    RecycleAnswer,
    RecycleOrder,
    ReloadAnswer,
    ReloadOrder,
    ReopenLogsAnswer,
    ScaleAnswer,
    ScaleOrder,
    StatusAnswer,
    StopAnswer,
    StopOrder,
    UpgradeAnswer,
    UpgradeOrder,
)
from blazeio_supervisor.log.formats import escape_lines

_FAILED = ExitCode.CRASHED
_COUNT = re.compile(r"([+-]?)\d{1,6}", re.ASCII)
_UPGRADE_POLL_S = 0.05
"""The question waits in the queue until a master reads it, the old or the new."""
_STEPS: msgspec.json.Decoder[Progress | ReloadAnswer] = msgspec.json.Decoder(
    Progress | ReloadAnswer
)


@verb(click.option("--wait", is_flag=True, help="Until it is over; tell how it went."))
def reload(target: ServiceTarget, is_json: bool, wait: bool) -> int:
    """Load the code anew, worker by worker, without losing a request.

    With --wait the exit code tells whether it worked. 1: the old code goes on, and
    what the new code raised is shown. When a later reload takes its place before it
    is over, that one is waited for, and its end is told.
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
    click.echo(escape_lines(answer.output), err=True, nl=False)
    raise SupervisorError(format_reload(answer))


_WAIT = click.option("--wait", is_flag=True, help="Until it has taken effect.")


@verb(click.argument("count", metavar="N|+N|-N"), _WAIT, has_signs=True)
def scale(target: ServiceTarget, is_json: bool, count: str, wait: bool) -> int:
    """Have N workers from now on, or so many more (+2) or less (-2).

    It holds until the next start of the service. Nothing in flight is lost. With
    --wait the exit code tells whether so many serve. 1: new ones fail, or somebody
    has asked for another number meanwhile.
    """
    client = target.find()
    order, known = _read_count(count), _count_failures(client)
    answer = client.ask("POST", "/scale", ScaleAnswer, order)
    if not wait:
        return show(answer, is_json, format_scale)
    wanted = answer.count
    took_s = wait_for(client, "scaling", lambda s: measure_scaling(s, wanted, known))
    what = "1 worker serves" if answer.count == 1 else f"{answer.count} workers serve"
    done = f"{what}, {answer.before} before"
    return show(answer, is_json, lambda _: f"{done} ({format_span(took_s)})")


@verb(click.argument("slot", metavar="SLOT|all"), _WAIT)
def recycle(target: ServiceTarget, is_json: bool, slot: str, wait: bool) -> int:
    """Replace the worker of one slot, or all one by one, with the same code.

    The new one is ready before the old one drains. With --wait the exit code tells
    whether all serve. 1: new ones fail, and the old ones go on.
    """
    order = RecycleOrder(read_slots(slot))
    client = target.find()
    known = _count_failures(client)
    answer = client.ask("POST", "/recycle", RecycleAnswer, order)
    if not wait:
        return show(answer, is_json, format_recycle)
    pids = {each.slot: each.pid for each in answer.slots}
    took_s = wait_for(client, "recycling", lambda s: measure_recycling(s, pids, known))
    done = f"{count_of(len(pids), 'worker')} replaced ({format_span(took_s)})"
    return show(answer, is_json, lambda _: done)


@verb(_WAIT)
def park(target: ServiceTarget, is_json: bool, wait: bool) -> int:
    """Let nobody serve for a while: workers drain, new connections wait.

    As many wait as the listen backlog holds. `resume` or a reload ends it. With
    --wait the exit code tells whether no worker is left. 1: it was resumed meanwhile.
    """
    client = target.find()
    workers = client.ask("GET", "/status", StatusAnswer).workers
    answer = client.ask("POST", "/park", ParkAnswer)
    if not wait:
        return show(answer, is_json, format_park)
    count = len(workers)
    took_s = wait_for(client, "parking", lambda s: measure_parking(s, count))
    return show(
        answer, is_json, lambda _: f"parked: no worker is left ({format_span(took_s)})"
    )


@verb(_WAIT)
def resume(target: ServiceTarget, is_json: bool, wait: bool) -> int:
    """Serve again after `park`; connections that waited are answered.

    With --wait the exit code tells whether every slot serves. 1: new workers fail.
    """
    client = target.find()
    known = _count_failures(client)
    answer = client.ask("POST", "/resume", ParkAnswer)
    if not wait:
        return show(answer, is_json, format_park)
    took_s = wait_for(client, "resuming", lambda s: measure_resuming(s, known))
    return show(answer, is_json, lambda _: f"every slot serves ({format_span(took_s)})")


@verb()
def reopen_logs(target: ServiceTarget, is_json: bool) -> int:
    """Write to new log files, after the old ones were renamed: what USR1 does.

    That of --log-file, and the access log of every worker.
    """
    answer = target.find().ask("POST", "/reopen-logs", ReopenLogsAnswer)
    if not answer.is_ok and not is_json:
        raise SupervisorError(answer.reason)
    show(answer, is_json, lambda _: "every log file is opened anew")
    return ExitCode.OK if answer.is_ok else ExitCode.CRASHED


@verb(
    click.option(
        "--check",
        "--check-upgrade",
        "is_check",
        is_flag=True,
        help="Only find out whether it would work.",
    )
)
def upgrade(target: ServiceTarget, is_json: bool, is_check: bool) -> int:
    """Go on with the code of the supervisor that is installed now.

    Same pid, same workers, nothing is lost. A child rehearses it first, with the
    real state; when that fails, nothing has happened. It is always waited for. 1: the
    running code goes on.
    The code of the app is not touched: that is `reload`.
    """
    client = replace(target.find(), timeout_s=None)
    with interruptible("the upgrade goes on"):
        order = UpgradeOrder(check=is_check)
        answer = client.ask("POST", "/upgrade", UpgradeAnswer, order)
        while not answer.is_over:
            time.sleep(_UPGRADE_POLL_S)
            answer = _ask_again(client) or answer
    if not answer.is_ok and not is_json:
        raise SupervisorError(format_upgrade(answer, is_check=is_check))
    show(answer, is_json, lambda given: format_upgrade(given, is_check=is_check))
    return ExitCode.OK if answer.is_ok else _FAILED


@verb(
    click.option("--quick", is_flag=True, help="Within a second, whatever is open."),
    click.option("--no-wait", is_flag=True, help="Do not wait for the end."),
)
def stop(target: ServiceTarget, is_json: bool, quick: bool, no_wait: bool) -> int:
    """Stop the service: refuse new connections, answer what is in flight.

    Returns when the master is gone, which takes --graceful-timeout of the service
    at most.
    """
    client = target.find()
    with watched_end(client) as end:
        answer = client.ask("POST", "/stop", StopAnswer, StopOrder(quick))
        if not no_wait:
            with interruptible("the service goes on stopping"):
                end.wait()
    what = "is told to stop" if no_wait else "is gone"
    return show(answer, is_json, lambda stopped: f"pid {stopped.pid} {what}")


def _count_failures(client: ControlClient) -> Failures:
    return count_failures(client.ask("GET", "/status", StatusAnswer))


def _read_count(text: str) -> ScaleOrder:
    match = _COUNT.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no count: write N, +N or -N")
    return ScaleOrder(change=int(text)) if match[1] else ScaleOrder(int(text))


def _ask_again(client: ControlClient) -> UpgradeAnswer | None:
    """None: the master that had accepted the question is the one that has left."""
    try:
        return client.ask("GET", "/upgrade", UpgradeAnswer)
    except NotAnsweringError:
        return None


def _follow_reload(client: ControlClient) -> ReloadAnswer:
    line = ProgressLine()
    try:
        for said in client.follow("/reload", _STEPS, ReloadOrder(wait=True)):
            if isinstance(said, ReloadAnswer):
                return said
            line.write(f"reload: {format_step(said)}")
    except BrokenOffError:
        pass  # it was killed
    finally:
        line.clear()
    raise SupervisorError("the service ended before the reload was over")
