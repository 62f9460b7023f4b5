"""The verbs that order something of a service; each with its wait and its sentence.

What an order is waited for by is a function ``measure_*``: it looks at a status of the
service and says how much of the order is done. These are pure, as are the sentences.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec.structs import replace

from blazeio_supervisor.cli.output import format_span, format_step, say
from blazeio_supervisor.cli.verbs import (
    Extent,
    ProgressLine,
    ServiceTarget,
    interruptible,
    read_slots,
    show,
    slot_argument,
    verb,
    wait_for,
)
from blazeio_supervisor.errors import (
    BrokenOffError,
    ExitCode,
    NotAnsweringError,
    SupervisorError,
    UsageError,
    count_of,
)
from blazeio_supervisor.ipc.control_api import (
    LAST_UPGRADE,
    PARK,
    RECYCLE,
    RELOAD,
    REOPEN_LOGS,
    RESUME,
    SCALE,
    STATUS,
    STOP,
    UPGRADE,
    ParkAnswer,
    RecycleAnswer,
    Recycled,
    RecycleOrder,
    ReloadAnswer,
    ReloadOrder,
    ScaleAnswer,
    ScaleOrder,
    StopOrder,
    UpgradeAnswer,
    UpgradeOrder,
)
from blazeio_supervisor.ipc.status_api import (
    Progress,
    SlotAnswer,
    StatusAnswer,
    WorkerAnswer,
)
from blazeio_supervisor.log.formats import escape_lines

if TYPE_CHECKING:
    from blazeio_supervisor.cli.client import ControlClient

_FAILED = ExitCode.CRASHED
_WAIT = click.option("--wait", is_flag=True, help="Wait until it has taken effect.")

# How the end of an order is waited for.


_WANTED = frozenset({"spawning", "booting", "standby", "serving"})
FAILURES_COUNT = 3
"""A slot that fails so often in a row is no longer waited for."""
Failures = Mapping[int, int]
"""By slot: how many workers in a row had failed when it was ordered."""


def count_failures(status: StatusAnswer) -> Failures:
    """Count the failures of before the order, which it has not caused."""
    return {slot.slot: slot.failures for slot in status.slots}


def _owners(status: StatusAnswer) -> dict[int, WorkerAnswer]:
    return {each.slot: each for each in status.workers if each.role == "owner"}


def _find_fault(status: StatusAnswer, known: Failures) -> str:
    if status.is_parked:
        return "the service is parked"
    for slot in status.slots:
        is_new = slot.failures > known.get(slot.slot, 0)
        if is_new and slot.failures >= FAILURES_COUNT:
            return _describe_failures(slot)
    return ""


def _describe_failures(slot: SlotAnswer) -> str:
    return (
        f"slot {slot.slot}: {slot.failures} workers in a row failed; the service's "
        "log says why, and it tries on"
    )


# reload


_STEPS: msgspec.json.Decoder[Progress | ReloadAnswer] = msgspec.json.Decoder(
    Progress | ReloadAnswer
)


@verb(
    "load new code; --wait reports whether it worked",
    click.option(
        "--wait", is_flag=True, help="Wait until it is over, and report the result."
    ),
)
def reload(target: ServiceTarget, is_json: bool, wait: bool) -> int:
    """Load new code, worker by worker, without losing a request.

    With --wait the exit code reports whether it worked: 0 as soon as every slot serves
    the new code; 1 if the old code keeps serving, and the exception of the new code is
    shown. If a later reload supersedes this one, it waits for the later one. The old
    code is kept for some seconds more: if the new code fails within them, all slots go
    back to it, which is the event rolled_back.
    """
    client = target.find()
    if not wait:
        return show(client.ask(RELOAD), is_json, format_reload)
    with interruptible("the reload goes on"):
        answer = _follow_reload(client)
    if answer.is_ok or is_json:
        show(answer, is_json, format_reload)
        return ExitCode.OK if answer.is_ok else _FAILED
    say(escape_lines(answer.output), ends_line=False)
    raise SupervisorError(format_reload(answer))


def _follow_reload(client: "ControlClient") -> ReloadAnswer:
    line = ProgressLine()
    try:
        for said in client.follow(RELOAD, ReloadOrder(wait=True), _STEPS):
            if isinstance(said, ReloadAnswer):
                return said
            line.write(f"reload: {format_step(said)}")
    except BrokenOffError:
        pass  # the master was killed
    finally:
        line.clear()
    raise SupervisorError("the service ended before the reload was over")


def format_reload(answer: ReloadAnswer) -> str:
    """Write how a reload ended."""
    if not answer.is_over:
        return "reload asked for; `reload --wait` or the log tells how it ends"
    later = "superseded by a later reload" if answer.is_superseded else ""
    if answer.is_ok:
        return (
            f"{later or 'reloaded'}: generation {answer.generation} serves "
            f"in every slot ({format_span(answer.took_s)})"
            f"{_format_way_back(answer.way_back_s)}"
            f"{_format_stuck(answer.needs_restart)}"
        )
    failed = f"{later}, which failed" if later else "reload failed"
    return f"{failed}, after {format_span(answer.took_s)}: {answer.reason}"


def _format_way_back(span_s: float) -> str:
    if not span_s:
        return ""
    return f"; for {format_span(span_s)} at most the code before is kept, to go back to"


def _format_stuck(keys: Sequence[str]) -> str:
    if not keys:
        return ""
    return f"\nas before until the service is restarted: {', '.join(keys)}"


# scale


_COUNT = re.compile(r"([+-]?)\d{1,6}", re.ASCII)


@verb(
    "run N workers, +N more, or -N fewer",
    click.argument("count", metavar="N|+N|-N|auto"),
    _WAIT,
    has_signs=True,
)
def scale(target: ServiceTarget, is_json: bool, count: str, wait: bool) -> int:
    """Run N workers from now on, or that many more (+2) or fewer (-2).

    It holds until the next start of the service, or until auto: then the load decides
    again, where --workers says so. Nothing in flight is lost. With --wait the exit code
    reports whether that many serve. It is 1 when new workers fail, or when another
    number was requested meanwhile.
    """
    client = target.find()
    # The failures are counted before the order: those of an earlier time are no answer
    # to it.
    order, known = _read_count(count), count_failures(client.ask(STATUS))
    answer = client.ask(SCALE, order)
    if not wait:
        return show(answer, is_json, format_scale)
    wanted = answer.count
    took_s = wait_for(client, "scaling", lambda s: measure_scaling(s, wanted, known))
    what = "1 worker serves" if wanted == 1 else f"{wanted} workers serve"
    done = f"{what}, {answer.before} before ({format_span(took_s)})"
    return show(answer, is_json, lambda _: done)


def _read_count(text: str) -> ScaleOrder:
    if text == "auto":
        return ScaleOrder(is_auto=True)
    match = _COUNT.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a count: write N, +N, -N or auto")
    return ScaleOrder(change=int(text)) if match[1] else ScaleOrder(int(text))


def measure_scaling(status: StatusAnswer, count: int, known: Failures) -> Extent:
    """Count the wanted slots whose worker serves; at the end no other slot has one."""
    serving = [each for each in _owners(status).values() if each.state == "serving"]
    ours = {slot.slot for slot in status.slots if not slot.is_parked}
    # Somebody else has scaled since: to wait for our number would take for ever.
    if len(ours) != count:
        return Extent(0, count, f"meanwhile {len(ours)} are wanted")
    done = sum(each.slot in ours for each in serving)
    # As long as a worker beyond the count boots or serves, the order is not carried
    # out, so at least one is still to be done.
    if done == count:
        done -= sum(w.slot not in ours and w.state in _WANTED for w in status.workers)
    return Extent(max(done, 0), count, _find_fault(status, known))


def format_scale(answer: ScaleAnswer) -> str:
    """Write how many workers were wanted before, and how many are now."""
    if answer.before == answer.count:
        return f"{count_of(answer.count, 'worker')}, as before"
    return f"{count_of(answer.count, 'worker')} wanted, {answer.before} before"


# recycle


@verb(
    "replace the worker of one slot, or all, with the same code",
    slot_argument(),
    _WAIT,
)
def recycle(target: ServiceTarget, is_json: bool, slot: str, wait: bool) -> int:
    """Replace the worker of one slot, or all one by one, with the same code.

    The new one is ready before the old one drains. With --wait the exit code reports
    whether all new ones serve. It is 1 when they fail; the old ones then keep serving.
    """
    order = RecycleOrder(read_slots(slot))
    client = target.find()
    known = count_failures(client.ask(STATUS))
    answer = client.ask(RECYCLE, order)
    if not wait:
        return show(answer, is_json, format_recycle)
    # From the answer, and not from a status before it: a worker that has died in
    # between, and was replaced for that, would count as recycled.
    pids = {each.slot: each.pid for each in answer.slots}
    took_s = wait_for(client, "recycling", lambda s: measure_recycling(s, pids, known))
    done = f"{count_of(len(pids), 'worker')} replaced ({format_span(took_s)})"
    return show(answer, is_json, lambda _: done)


def measure_recycling(
    status: StatusAnswer, pids: Mapping[int, int | None], known: Failures
) -> Extent:
    """Count the slots that have another worker than that, which serves."""
    owners = _owners(status)
    done = 0
    for slot, pid in pids.items():
        owner = owners.get(slot)
        if owner is not None and owner.pid != pid:
            done += owner.state == "serving"
    return Extent(done, len(pids), _find_fault(status, known))


def format_recycle(answer: RecycleAnswer) -> str:
    """Write which worker is replaced, one line for each slot."""
    return "\n".join(map(_format_recycled, answer.slots))


def _format_recycled(recycled: Recycled) -> str:
    slot, pid = recycled.slot, recycled.pid
    if pid is None:
        return f"slot {slot} has no worker: one is tried at once"
    return f"slot {slot}: pid {pid} drains when its successor is ready"


# park and resume


@verb("stop serving for a while; new connections wait", _WAIT)
def park(target: ServiceTarget, is_json: bool, wait: bool) -> int:
    """Stop serving for a while: workers drain, new connections wait.

    As many can wait as the listen backlog holds. `resume` or a reload ends it. With
    --wait the exit code reports whether all workers have ended. It is 1 when the
    service was resumed meanwhile.
    """
    client = target.find()
    # Before the order, which some of them may have followed by the time of the next
    # look.
    count = len(client.ask(STATUS).workers)
    answer = client.ask(PARK)
    if not wait:
        return show(answer, is_json, format_park)
    took_s = wait_for(client, "parking", lambda s: measure_parking(s, count))
    done = f"parked: no worker is left ({format_span(took_s)})"
    return show(answer, is_json, lambda _: done)


@verb("serve again after `park`", _WAIT)
def resume(target: ServiceTarget, is_json: bool, wait: bool) -> int:
    """Serve again after `park`; connections that waited are answered.

    With --wait the exit code reports whether every slot serves. It is 1 when new
    workers fail.
    """
    client = target.find()
    known = count_failures(client.ask(STATUS))
    answer = client.ask(RESUME)
    if not wait:
        return show(answer, is_json, format_park)
    took_s = wait_for(client, "resuming", lambda s: measure_resuming(s, known))
    done = f"every slot serves ({format_span(took_s)})"
    return show(answer, is_json, lambda _: done)


def measure_parking(status: StatusAnswer, at_first: int) -> Extent:
    """Count the workers that have gone since the service is parked."""
    # At least one is to be done, since a total of 0 would count as done at once.
    if not status.is_parked:
        at_first = max(at_first, 1)
        fault = "" if status.will_park else "meanwhile it was resumed"
        return Extent(0, at_first, fault)
    return Extent(max(at_first - len(status.workers), 0), at_first)


def measure_resuming(status: StatusAnswer, known: Failures) -> Extent:
    """Count the wanted slots whose worker serves, once the service is not parked."""
    slots = [slot for slot in status.slots if not slot.is_parked]
    if status.is_parked:
        return Extent(0, len(slots))
    return measure_scaling(status, len(slots), known)


def format_park(answer: ParkAnswer) -> str:
    """Write what becomes of the service."""
    if not answer.is_parked:
        return "resumed: a worker starts in each slot"
    if answer.waits_for:
        return f"will be parked when the {answer.waits_for} is over"
    return "parked: the workers drain, new connections wait; `resume` ends it"


# upgrade


_UPGRADE_POLL_S = 0.05
"""The question waits in the queue until a master reads it, the old or the new one."""


@verb(
    "switch to the installed version of the supervisor",
    click.option(
        "--check",
        "--check-upgrade",
        "is_check",
        is_flag=True,
        help="Only check whether it would work.",
    ),
)
def upgrade(target: ServiceTarget, is_json: bool, is_check: bool) -> int:
    """Switch to the installed version of the supervisor.

    The pid and the workers stay the same, and nothing is lost. A child process
    rehearses it first with the real state; if that fails, nothing changes. It always
    waits for the end. If the exit code is 1, the running version stays in charge.

    The code of the app does not change: use `reload` for that.
    """
    # Without a timeout: the rehearsal alone may take ``--upgrade-timeout``, and the
    # answer comes after it.
    client = replace(target.find(), timeout_s=None)
    with interruptible("the upgrade goes on"):
        answer = client.ask(UPGRADE, UpgradeOrder(check=is_check))
        while not answer.is_over:
            time.sleep(_UPGRADE_POLL_S)
            # Between the two images nobody accepts, but the socket stays open: the
            # question waits in its queue. Only a master that had accepted it and then
            # left gives no answer.
            answer = _ask_for_end(client) or answer
    if not answer.is_ok and not is_json:
        raise SupervisorError(format_upgrade(answer, is_check=is_check))
    show(answer, is_json, lambda given: format_upgrade(given, is_check=is_check))
    return ExitCode.OK if answer.is_ok else _FAILED


def _ask_for_end(client: "ControlClient") -> UpgradeAnswer | None:
    """Ask how it ended; None: the master that had accepted the question has left."""
    try:
        return client.ask(LAST_UPGRADE)
    except NotAnsweringError:
        return None


def format_upgrade(answer: UpgradeAnswer, *, is_check: bool) -> str:
    """Write what became of an upgrade."""
    span = format_span(answer.took_s)
    if not answer.is_ok:
        return f"no upgrade, the running code goes on: {answer.reason}"
    if is_check:
        return f"blazeio {answer.version} could take over ({span})"
    return f"upgraded: blazeio {answer.version} has taken over ({span})"


# reopen-logs and stop


@verb("reopen the log files after they were renamed")
def reopen_logs(target: ServiceTarget, is_json: bool) -> int:
    """Reopen the log files after they were renamed, as USR1 does.

    These are the file of --log-file, and the access log of every worker.
    """
    answer = target.find().ask(REOPEN_LOGS)
    if not answer.is_ok and not is_json:
        raise SupervisorError(answer.reason)
    show(answer, is_json, lambda _: "every log file is reopened")
    return ExitCode.OK if answer.is_ok else _FAILED


@verb(
    "finish requests in flight, then stop; waits for it",
    click.option(
        "--quick", is_flag=True, help="Stop within a second, whatever is in flight."
    ),
    click.option(
        "--wait/--no-wait",
        default=True,
        help="Wait until it is gone, or return at once.",
    ),
)
def stop(target: ServiceTarget, is_json: bool, quick: bool, wait: bool) -> int:
    """Stop the service: refuse new connections, finish requests in flight.

    It returns when the master has ended, which takes at most the --graceful-timeout of
    the service.
    """
    client = target.find()
    # Before the order: once the master is gone, its pid may be another process's.
    with client.watch_end() as end:
        answer = client.ask(STOP, StopOrder(quick))
        if wait:
            with interruptible("the service goes on stopping"):
                end.wait()
    what = "is gone" if wait else "is told to stop"
    return show(answer, is_json, lambda stopped: f"pid {stopped.pid} {what}")


VERBS = (reload, scale, recycle, park, resume, upgrade, reopen_logs, stop)
