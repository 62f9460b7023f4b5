"""The name of each event, and what has happened then.

A name means the same for ever: alerts and scripts are written on it. The table
in ``docs/events.md`` is this one.

May import: nothing.
"""

EVENTS = {
    # the service
    "listening": "all addresses are open, and it is known what is spoken there",
    "bound": "all addresses are open; the app, which is still to come, says the rest",
    "cannot_bind": "an address cannot be had: the service ends",
    "address_kept": "the app asks for another address than the one it is served at",
    "control": "the control socket is open",
    "no_control": "no control socket could be made: no verb reaches this service",
    "metrics": "the address of the metrics is open",
    "ready": "the first worker serves",
    "boot_failed": "the first boot failed: the service ends",
    "not_stored": "systemd keeps fewer listeners for us than there are",
    "queues_shared": "no queue of its own could be opened for some slots",
    "leaving": "told to stop: no longer ready, but serving for --drain-delay",
    "stopping": "told to stop: draining, or quickly",
    "killing": "told to stop at once: whoever is left is killed",
    "stopped": "everything of the service has ended",
    "not_held_off": "the kernel does not let us hold off clients at the end",
    "logs_reopened": "log files are opened anew, after they were renamed",
    "scaled": "another number of workers is wanted",
    "scale_limited": "more or fewer workers were asked for than there may be",
    # new code
    "reloading": "a generation is being loaded",
    "loaded": "the app of a generation is imported, or each worker will do it",
    "fork_unsafe": "what the import has begun cannot be forked: workers import alone",
    "app_raised": "what the app raised while it was imported or started",
    "reloaded": "a generation serves in every slot",
    "rolling_back": "a generation failed after it was spread: going back",
    "reload_failed": "a generation was not taken: the old code goes on",
    "reload_ok": "somebody's order to reload was carried out",
    "reload_superseded": "somebody's order to reload was overtaken by a later one",
    "reload_not_ok": "somebody's order to reload came to nothing",
    "forkserver_exited": "the process that forks the workers has ended",
    "needs_restart": "a setting was changed that holds from the next start only",
    # workers
    "worker_forked": "a worker lives, and boots",
    "worker_ready": "a worker serves",
    "worker_failed": "a worker died, or was late and is ended; says what is next",
    "worker_exited": "a worker is gone",
    "crash_loop": "the workers of a slot fail one after the other; tries go on",
    "recycling": "a worker that serves well will be replaced",
    "recycling_loop": "each new worker is over a limit at once: the limit is too low",
    "recycle_refused": "a slot was to be recycled that has no worker",
    "blocked": "the loop of a worker stands still: its stacks are printed",
    "machine_late": "most workers are late at once: the machine is overloaded",
    "adopted": "a worker takes the queue of a slot that does not serve",
    "released": "a slot has its queue for itself again",
    "steered": "new connections are shared out by other weights",
    "not_steered": "the kernel refuses to share out connections by weights",
    "memory_unknown": "the memory of workers cannot be measured",
    "requests_cut": "the grace period of a worker was over: requests were cut",
    "stop_hook_failed": "an on_stop hook raised, or took too long",
    "parking": "the service will be parked when what is under way has ended",
    "parked": "no worker serves; connections wait in the queues",
    "resumed": "a parked service serves again",
    # the supervisor itself
    "upgraded": "the installed code of the supervisor has taken over, same pid",
    "upgrade_checked": "an upgrade was rehearsed, and not done",
    "upgrade_failed": "an upgrade came to nothing: the running code goes on",
    "no_upgrade": "the running program cannot be kept, so there is no way back",
    "unknown_variable": "a variable of the environment looks like a misspelt setting",
    "reaped_stranger": "the child of somebody else has ended with us as its parent",
    "protocol_broken": "a process of ours said what it should not",
    "planner_failed": "a fault of the supervisor: a decision failed",
    "action_failed": "a fault of the supervisor: what was decided could not be done",
}
