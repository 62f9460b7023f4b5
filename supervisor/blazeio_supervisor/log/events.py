"""The name of each event, and what has happened then.

A name means the same for ever: alerts and scripts are written on it. The table
in ``docs/reference/events.md`` is this one.
"""

from typing import Any

import msgspec


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that has happened; what does not apply is left out.

    Attributes:
        seq: Counts up from 1. Numbers that are missing were forgotten: only the
            last 10,000 are kept, fewer of long ones.
        at_s: Since 1970, UTC.
        event: A word of ``docs/reference/events.md``.
        level: DEBUG, INFO, WARNING or ERROR.
        text: For a person.
        worker: Serial number of a worker's life.
        pid: Of the process that it is about.
        reason: Why, as one of few words.
        traceback: Of what was raised.
        fields: Further figures.
    """

    seq: int = 0
    at_s: float
    event: str
    level: str
    text: str
    worker: int | None = None
    slot: int | None = None
    generation: int | None = None
    pid: int | None = None
    reason: str = ""
    traceback: str = ""
    fields: dict[str, Any] = {}


WORKER_EVENTS = {
    "requests_cut": "the grace period of a worker was over: requests were cut",
    "thread_stuck": "threads of a WSGI app do not come back; with their stacks",
    "threads_cut": "the grace period of a worker was over: its threads were cut",
    "stop_hook_failed": "an on_stop hook raised, or took too long",
}
"""Those that a worker sends, by a ``WorkerEvent``; it is believed no others."""

EVENTS = {
    # the service
    "listening": "all addresses are open, and it is known what is spoken there",
    "bound": "all addresses are open; the app, which is still to come, says the rest",
    "cannot_bind": "an address cannot be had: the service ends",
    "pid_file_taken": "the pid file is another service's, or no file: the service ends",
    "address_kept": "the app asks for another address than the one it is served at",
    "control": "the control socket is open, at its start or anew",
    "no_control": "no control socket could be made: no verb reaches this service",
    "stranger_refused": "another user asked the control socket; once a minute at most",
    "metrics": "the address of the metrics is open",
    "ready": "the first worker serves",
    "boot_failed": "the first boot failed: the service ends",
    "boot_waits": "the first boot failed with --reload: a change tries it again",
    "not_stored": "systemd keeps fewer listeners for us than there are",
    "queues_shared": "no queue of its own could be opened for some slots",
    "leaving": "told to stop: no longer ready, but serving for --drain-delay",
    "stopping": "told to stop: draining, or quickly",
    "killing": "told to stop at once: remaining workers are killed",
    "stop_forced": "the service has not ended in its time: all of it is killed",
    "stopped": "everything of the service has ended",
    "not_held_off": "the kernel does not let us hold off clients at the end",
    "logs_reopened": "every log file is reopened, after it was renamed",
    "scaled": "another number of workers is wanted",
    "scale_limited": "more or fewer workers were asked for than there may be",
    # new code
    "watching": "files are watched, and reloaded when they change (--reload)",
    "reloading": "a generation is being loaded",
    "loaded": "the app of a generation is imported, or each worker will do it",
    "warm_failed": "what was to be made once, before the workers are forked, failed",
    "fork_unsafe": "what the import has begun cannot be forked: workers import alone",
    "app_raised": "what the app raised while it was imported or started",
    "reloaded": "a generation serves in every slot",
    "rolling_back": "a generation failed after it was spread: going back",
    "rolled_back": "a generation that had served in every slot was taken back, and why",
    "reload_failed": "a reload failed, with the reason: the old code keeps serving",
    "reload_ok": "a requested reload was carried out",
    "reload_superseded": "a requested reload was superseded by a later one",
    "forkserver_exited": "the process that forks the workers has ended",
    "needs_restart": "a setting was changed that holds from the next start only",
    # workers
    "worker_forked": "a worker lives, and boots",
    "boot_slow": "a process has booted for a third of --boot-timeout, or for all of it",
    "worker_ready": "a worker serves",
    "worker_failed": "a worker died, or was late and is ended; says what is next",
    "worker_exited": "a worker is gone",
    "worker_killed": "a worker that had not ended in time was killed; with its stacks",
    "crash_loop": "the workers of a slot keep failing; it keeps trying",
    "recovered": "a worker serves steadily in a slot that was in a crash loop",
    "making_room": "there is no memory for two: a worker ends before the next starts",
    "recycling": "a worker that serves well will be replaced",
    "recycling_loop": "each new worker is over a limit at once: the limit is too low",
    "recycle_refused": "a slot was to be recycled that has no worker",
    "blocked": "the loop of a worker stands still; with its stacks",
    "unblocked": "the loop of a blocked worker runs again",
    "listener_dead": "a listener was shut down, or its file removed: it is recreated",
    "worker_deaf": "a worker has accepted nothing, though connections wait",
    "machine_late": "most workers are late at once: the machine is overloaded",
    "adopted": "a worker takes the queue of a slot that does not serve",
    "released": "a slot has its queue for itself again",
    "steered": "new connections are shared out by other weights",
    "not_steered": "the kernel refuses to share out connections by weights",
    "tasks_leased": "a worker runs the tasks that run once from now on",
    "task_failed": "a run of a task that runs once has raised, or was cut",
    "memory_unknown": "the memory of workers cannot be measured",
    **WORKER_EVENTS,
    "parking": "the service will be parked when what is under way has ended",
    "parked": "no worker serves; connections wait in the queues",
    "resumed": "a parked service serves again",
    # the supervisor itself
    "upgraded": "the installed code of the supervisor has taken over, same pid",
    "upgrade_checked": "an upgrade was rehearsed, and not done",
    "upgrade_failed": "an upgrade failed: the running code stays",
    "no_upgrade": "the running program cannot be kept, so there is no way back",
    "unknown_variable": "a variable of the environment looks like a misspelt setting",
    "variable_too_late": "what is set for the app counts only as a process starts",
    "open_to_others": "another user may write what root runs, with --user",
    "reaped_stranger": "a process that was re-parented to the master has ended",
    "listener_changed": "the app has made a listener block, which is set back",
    "misbehaved": "a worker, or what forks them, did what none does, and is ended",
    "turn_failed": "a fault of the supervisor: a turn of its loop could not see all",
    "planner_failed": "a fault of the supervisor: a decision failed",
    "action_failed": "a fault of the supervisor: what was decided could not be done",
}
