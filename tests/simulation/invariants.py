"""What must hold after every turn, whatever happened. One function each.

The first line of each docstring is the promise. They read what the planner
says of itself (its snapshots), what it ordered (the ledger) and what is true
(the world), and raise ``InvariantError``.
"""

from blazeio_supervisor.fleet.actions import (
    AdmitWorker,
    AdoptQueue,
    Exit,
    GrantLease,
    ReleaseQueue,
    ReloadEnded,
    RenewConnections,
    ReportStatus,
    Stage,
    StopForkserver,
    StopMode,
)
from blazeio_supervisor.fleet.planner import Snapshot, WorkerView
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import WANTED
from tests.simulation.ledger import Step, require

COVER_BOUND_S = 1.0
MOVED_S = 1.0
ORDER = [StopMode.DRAIN, StopMode.TERM, StopMode.KILL]
TRIAL = {"canary", "checking", "probation"}


def serving(view: Snapshot) -> set[int]:
    """Owners that serve; a canary on trial is a guest."""
    owners = [slot.owner for slot in view.slots if slot.owner is not None]
    return {owner.worker for owner in owners if owner.state == "serving"}


def made_room(view: Snapshot) -> set[int]:
    """Who had to end before the next one starts, for lack of memory."""
    return {slot.awaits for slot in view.slots if slot.awaits is not None}


def wanted_count(view: Snapshot) -> int:
    return sum(not slot.is_parked for slot in view.slots)


def booting_or_serving(view: Snapshot) -> list[WorkerView]:
    """Not those of parked slots, which only serve until others do."""
    parked = {slot.index for slot in view.slots if slot.is_parked}
    return [w for w in view.workers if w.state in WANTED and w.slot not in parked]


def never_fewer_serving(step: Step, policy: Policy) -> None:
    """No order takes the serving workers below what they were, or are wanted."""
    if step.ledger.stop_at is not None or step.after.is_parked:
        return
    before = serving(step.before) - step.ledger.exited
    after = serving(step.after)
    hung = {end.worker for end in step.ended if end.mode is StopMode.TERM} & before
    hung |= step.ledger.misbehaved & before
    least = min(len(before), wanted_count(step.after))
    lost = before - after - hung
    room = made_room(step.after) & before
    require(
        len(after) + len(hung) + len(room) >= least,
        f"{len(after)} serve of {least}; drained {sorted(lost)}",
    )


def at_most_two_generations(step: Step, policy: Policy) -> None:
    """At most two generations boot or serve, bar what was left.

    A lost forkserver leaves workers that nobody may be able to replace, so does
    a way back that takes too long, and scaling down leaves some that serve until
    others do.
    """
    generations = {w.generation for w in booting_or_serving(step.after)}
    alive = generations - step.ledger.lost
    require(len(alive) <= 2, f"generations {sorted(generations)} boot or serve")


def at_most_two_forkservers(step: Step, policy: Policy) -> None:
    """At most two forkservers exist at any time."""
    found = step.after.forkservers
    require(len(found) <= 2, f"forkservers {found}")


def every_pid_is_accounted_for(step: Step, policy: Policy) -> None:
    """The roster holds the workers that were told to exist, with their pids."""
    told = set(step.ledger.pids)
    known = {w.worker for w in step.after.workers}
    if step.ledger.exit_code is None:
        missing = told - known
        require(not missing, f"forgot workers {sorted(missing)}")
    pidless = {"spawning", "cancelled"}
    extra = {w.worker for w in step.after.workers if w.state not in pidless} - told
    require(not extra, f"believes in workers {sorted(extra)}")
    nameless = {w.worker for w in step.after.workers if w.pid is None}
    require(nameless.isdisjoint(told), f"cannot kill {sorted(nameless & told)}")


def surge_is_at_most_one(step: Step, policy: Policy) -> None:
    """At most one worker more than wanted boots or serves."""
    found = booting_or_serving(step.after)
    wanted = wanted_count(step.after)
    require(len(found) <= wanted + 1, f"{len(found)} boot or serve of {wanted}")


def stop_ends(step: Step, policy: Policy) -> None:
    """A stop ends within its delay, the grace period and what it takes to kill."""
    ledger, world = step.ledger, step.world
    if ledger.stop_asked_at is None or ledger.exit_code is not None:
        return
    kill_s = policy.kill_after_s + 1.0  # until the news of an exit has come
    late_s = world.slept_s - ledger.slept_before_stop_s
    bound_s = policy.drain_delay_s + policy.grace_s + kill_s + late_s
    took_s = world.now - ledger.stop_asked_at
    require(took_s <= bound_s, f"stops since {took_s:.1f} s: {step.after.workers}")


def endings_are_bounded(step: Step, policy: Policy) -> None:
    """Who was told to end is gone soon after the grace period."""
    world = step.world
    for worker in step.ledger.pids.keys() & step.ledger.ended_at.keys():
        at, slept_s = step.ledger.ended_at[worker]
        took_s = world.now - at - (world.slept_s - slept_s)
        bound_s = policy.grace_s + policy.kill_after_s + 1.0
        sim = world.workers.get(worker)
        is_slow_news = sim is not None and not sim.is_alive
        require(took_s <= bound_s or is_slow_news, f"{worker} ends for {took_s:.1f} s")


def exit_comes_last(step: Step, policy: Policy) -> None:
    """The master exits when every process told of is gone, and acts no more."""
    if step.ordered(Exit):
        require(not step.ledger.pids, f"left behind {step.ledger.pids}")
        require(isinstance(step.actions[-1], Exit), "acts after Exit")
        open_ = set(step.ledger.asked) - set(step.ledger.answers)
        require(not open_, f"tickets {open_} were never answered")


def tickets_are_answered_once(step: Step, policy: Policy) -> None:
    """Each reload asked for is answered, once, within its bound."""
    ledger = step.ledger
    for action in step.ordered(ReloadEnded):
        assert isinstance(action, ReloadEnded)
        for ticket in action.tickets:
            require(ticket in ledger.asked, f"nobody asked for {ticket}")
            count = len(ledger.answers[ticket])
            require(count == 1, f"ticket {ticket} answered twice")
    bound_s = 5 * policy.rollout_timeout_s + step.world.slept_s
    for ticket, asked_at in ledger.asked.items():
        if ticket not in ledger.answers and ledger.exit_code is None:
            age_s = step.world.now - asked_at
            require(age_s <= bound_s, f"ticket {ticket} waits since {age_s:.0f} s")


def success_means_new_code_everywhere(step: Step, policy: Policy) -> None:
    """A reload that succeeded left no old owner in any slot."""
    ended = step.ordered(ReloadEnded)
    if any(isinstance(action, ReloadEnded) and action.is_ok for action in ended):
        owners = [slot.owner for slot in step.after.slots if not slot.is_parked]
        old = [o for o in owners if o and o.generation != step.after.generation]
        require(not old, f"old owners {old} after a good reload")


def trial_touches_no_old_worker(step: Step, policy: Policy) -> None:
    """While the canary is tried, no old worker drains but by scaling down."""
    ends_so = step.after.phase.value in {*TRIAL, "idle", "importing"}
    if step.before.phase.value not in TRIAL or not ends_so:
        return
    has_passed = step.after.generation == step.before.target
    if has_passed or step.ledger.stop_at is not None:
        return
    view = {w.worker: w for w in step.before.workers if w.state == "serving"}
    for end in step.ended:
        worker = view.get(end.worker)
        if worker is None or end.mode is not StopMode.DRAIN:
            continue
        is_parked = step.after.slots[worker.slot].is_parked
        is_new = worker.generation == step.before.target
        is_over = step.after.phase.value == "idle"
        is_recycled = is_over and end.worker in made_room(step.after)
        is_due = is_parked or is_new or is_recycled
        require(is_due, f"trial drained old {worker}")


def clients_are_disturbed_for_a_canary_only(step: Step, policy: Policy) -> None:
    """Only during a trial do clients connect anew, few of them, and only old ones."""
    found = [each for each in step.actions if isinstance(each, RenewConnections)]
    if not found:
        return
    phase, target = step.after.phase.value, step.after.target
    require(phase == "probation", f"{found} in {phase}")
    view = {worker.worker: worker for worker in step.after.workers}
    for renewal in found:
        worker = view[renewal.worker]
        is_old = worker.state == "serving" and worker.generation != target
        require(is_old, f"{renewal} to {worker}")
        require(0 < renewal.count <= policy.renew_count, f"{renewal}")


def endings_only_rise(step: Step, policy: Policy) -> None:
    """No ending is ordered twice, and each is harder than the last."""
    for action in step.ended:
        _require_rising(step.ledger.endings[action.worker], action)
    for stop in step.ordered(StopForkserver):
        assert isinstance(stop, StopForkserver)
        _require_rising(step.ledger.stops[stop.generation], stop)


def _require_rising(endings: list[StopMode], action: object) -> None:
    ranks = [ORDER.index(ending) for ending in endings]
    require(ranks == sorted(set(ranks)), f"{action} after {endings}")


def orders_reach_somebody(step: Step, policy: Policy) -> None:
    """Endings go to workers with a process, DRAIN to those that were ready."""
    for end in step.ended:
        known = step.ledger.pids.keys() | step.ledger.exited
        require(end.worker in known, f"{end} to one without a pid")
        worker = step.world.workers.get(end.worker)
        if end.mode is StopMode.DRAIN and worker is not None:
            require(worker.is_ready, f"{end} to one that boots")


def adoptions_are_paired(step: Step, policy: Policy) -> None:
    """One adopter at most for a slot, alive; each Adopt ends by Release or exit."""
    ledger = step.ledger
    moves = step.ordered(AdoptQueue, ReleaseQueue)
    require(not (moves and policy.is_shared_listener), "adopts a shared listener")
    for move in moves:
        assert isinstance(move, AdoptQueue | ReleaseQueue)
        require(move.by in ledger.pids, f"{move} to one that is gone")
    for slot in step.after.slots:
        adopter = ledger.adopters.get(slot.index)
        if adopter is not None and adopter not in ledger.pids:
            adopter = None  # its exit released
        shown = slot.adopted_by if slot.adopted_by in ledger.pids else None
        require(adopter == shown, f"slot {slot.index}: {adopter} is not {shown}")


def adopters_are_fit(step: Step, policy: Policy) -> None:
    """Who is told to adopt serves, is not blocked by its beats, and is another."""
    view = {w.worker: w for w in step.after.workers}
    for move in step.ordered(AdoptQueue):
        assert isinstance(move, AdoptQueue)
        require(view[move.by].state == "serving", f"{move} to {view[move.by]}")
        worker = step.world.workers.get(move.by)
        if worker is not None and worker.is_blocked(step.world.now):
            blocked_s = step.world.now - max(worker.blocked_since, worker.vouched_at)
            bound_s = policy.steer_after_s + 4 * policy.beat_every_s + step.sleep_s
            is_asleep = step.world.now - step.world.slept_at < COVER_BOUND_S
            require(blocked_s < bound_s or is_asleep, f"{move}: late {blocked_s:.2f}")


def no_slot_is_left_alone(step: Step, policy: Policy) -> None:
    """Somebody accepts from each queue while any healthy worker exists."""
    if policy.is_shared_listener or step.ledger.stop_at is not None:
        return
    now, world = step.world.now, step.world
    workers = list(world.workers.values())
    judged = {w.worker for w in step.after.workers if w.state == "serving"}
    late = sum(w.is_blocked(now) for w in workers if w.worker in judged)
    owners = serving(step.after)
    has_fit = any(w.worker in owners and w.is_fit(now, COVER_BOUND_S) for w in workers)
    is_excused = not has_fit or 2 * late > len(judged) or now - world.slept_at < 0.5
    for slot in range(step.ledger.slots):
        if is_excused or any(w.accepts_from(slot, now) for w in workers):
            step.ledger.uncovered[slot] = now
        alone_s = now - step.ledger.uncovered.setdefault(slot, now)
        bound_s = COVER_BOUND_S + policy.rest_every_s  # as of ``Policy.rest_every_s``
        require(alone_s <= bound_s, f"slot {slot} alone for {alone_s:.2f} s")


def weights_are_sane(step: Step, policy: Policy) -> None:
    """Weights fit the slots; who serves gets some, also a canary alone in its slot."""
    weights = step.ledger.weights
    if not weights or step.sleep_s > 0 or step.ledger.stop_at is not None:
        return
    require(len(weights) == step.ledger.slots, f"{weights} for {step.ledger.slots}")
    live = {s.index for s in step.after.slots if s.owner and s.owner.state == "serving"}
    without = {s.index for s in step.after.slots if not s.owner}
    live |= {
        w.slot for w in step.after.workers if w.slot in without and w.state == "serving"
    }
    given = {index for index, weight in enumerate(weights) if weight > 0}
    require(given <= live, f"{weights} but only {live} serve")
    require(bool(given) == bool(live), f"{weights} though {live} serve")


def spawns_are_possible(step: Step, policy: Policy) -> None:
    """Forks are asked of ready forkservers, for slots that want a worker."""
    for spawn in step.spawned:
        ready = step.ledger.ready
        require(spawn.generation in ready, f"{spawn}: not ready, {ready}")
        require(spawn.slot < step.ledger.slots, f"{spawn} for no slot")
        require(not step.after.slots[spawn.slot].is_parked, f"{spawn} while parked")


def nobody_healthy_is_ended(step: Step, policy: Policy) -> None:
    """TERM comes to a serving worker only when it was blocked for long."""
    if step.ledger.stop_at is not None:
        return
    view = {w.worker: w for w in step.before.workers}
    for end in step.ended:
        if end.mode is StopMode.DRAIN or end.worker not in view:
            continue
        worker = step.world.workers.get(end.worker)
        if worker is None or not worker.is_alive:
            continue
        if end.worker in step.ledger.misbehaved:
            continue
        if view[end.worker].state == "serving":
            blocked_s = step.world.now - worker.blocked_since
            is_blocked = step.world.now < worker.blocked_until + 4 * policy.beat_every_s
            is_long = blocked_s >= 0.9 * policy.timeout_s
            require(is_blocked and is_long, f"{end} after {blocked_s:.2f} s")


def who_misbehaves_is_ended_at_once(step: Step, policy: Policy) -> None:
    """Who does what none does serves no more after that turn."""
    serving_ = {w.worker for w in step.after.workers if w.state in WANTED}
    left = serving_ & step.ledger.misbehaved
    require(not left, f"{left} misbehaved, and may go on")


def nobody_hangs_for_ever(step: Step, policy: Policy) -> None:
    """A blocked worker is ended, at the latest when the machine's excuse is."""
    world, bound_s = step.world, policy.machine_timeout_s + 1.0
    if world.now - world.slept_at < bound_s:
        return
    for view in step.after.workers:
        worker = world.workers.get(view.worker)
        if worker is None or view.state != "serving":
            continue
        since = max(worker.blocked_since, worker.vouched_at, world.now - view.age_s)
        is_blocked = worker.is_blocked(world.now)
        hung = is_blocked and world.now - since > bound_s
        require(not hung, f"{view} hangs since {since:.1f}")


def only_who_hangs_is_taken_back_for_it(step: Step, policy: Policy) -> None:
    """Where new code goes back since its loops stand still, they do."""
    for report in step.ordered(ReportStatus):
        assert isinstance(report, ReportStatus)
        if report.event == "rolling_back" and "have stood still" in report.text:
            owners = serving(step.before)
            workers = [step.world.workers.get(owner) for owner in owners]
            hung = sum(w is None or w.is_blocked(step.world.now) for w in workers)
            require(2 * hung > len(owners), f"{hung} hang: {report.text}")


def sleep_ends_nobody(step: Step, policy: Policy) -> None:
    """In the first turn after a sleep no deadline strikes: only what is told does."""
    if step.sleep_s > 1.0 and not step.was_late and not step.facts:
        is_stop = step.ledger.stop_at is not None and step.before.is_stopping
        is_stop = is_stop or step.after.is_parked  # it was asked to, before that
        struck = [end for end in step.ended if end.mode is not StopMode.DRAIN]
        require(not struck or is_stop, f"{struck} in the first turn after a sleep")


def only_the_healthy_are_admitted(step: Step, policy: Policy) -> None:
    """With a health path, no worker of a trial serves before it answered well."""
    for action in step.ordered(AdmitWorker):
        assert isinstance(action, AdmitWorker)
        require(policy.has_health_check, f"{action} though nothing is asked")
        require(action.worker in step.ledger.healthy, f"{action} of an unhealthy one")
    gated = {spawn.worker for spawn in step.spawned if spawn.is_canary}
    require(not gated or policy.has_health_check, f"{gated} wait for nothing")


def rollouts_are_bounded(step: Step, policy: Policy) -> None:
    """Until the last slot has its new worker, a reload has its time, no more."""
    if step.after.phase not in {*TRIAL, "importing", "rolling"}:
        return
    _, since, slept_s = step.ledger.rollout
    took_s = step.world.now - since - (step.world.slept_s - slept_s)
    bound_s = policy.rollout_timeout_s + 1.0
    require(took_s <= bound_s, f"{step.after.phase} since {took_s:.1f} s")


def recycled_workers_are_replaced_first(step: Step, policy: Policy) -> None:
    """Who is recycled drains only when another serves in its slot."""
    if step.ledger.stop_at is not None or step.after.is_parked:
        return
    retiring = {w.worker: w for w in step.before.workers if w.retire_reason}
    for end in step.ended:
        worker = retiring.get(end.worker)
        if worker is None or end.mode is not StopMode.DRAIN:
            continue
        slot = step.after.slots[worker.slot]
        is_replaced = slot.owner is not None and slot.owner.state == "serving"
        is_replaced |= slot.awaits == worker.worker
        require(is_replaced or slot.is_parked, f"{worker} drains before its successor")


def room_is_made_in_one_slot_and_for_lack_of_memory(step: Step, policy: Policy) -> None:
    """One worker at a time ends before the next one starts, and only if it must."""
    before, after = made_room(step.before), made_room(step.after)
    require(len(after) <= 1, f"{sorted(after)} made room at once")
    is_short = step.ledger.free_bytes is not None and (
        step.ledger.free_bytes < 2200 * 1024 * 1024
    )
    require(after <= before or is_short, f"{sorted(after - before)} made room")


def a_canary_takes_no_room_that_another_needs(step: Step, policy: Policy) -> None:
    """Who made room is replaced before a canary is tried, where it can be at all."""
    if (step.before.phase, step.after.phase) != ("importing", "canary"):
        return
    taken = [s for s in step.after.slots if s.awaits is not None and s.owner]
    require(not taken, f"a canary beside the next worker of {taken}")


def parked_services_rest(step: Step, policy: Policy) -> None:
    """Parked, nobody is spawned and nobody serves; no reload is cut short by it."""
    if not step.after.is_parked or step.ledger.stop_at is not None:
        return
    require(not step.spawned, f"{step.spawned} while parked")
    wanted = [w for w in step.after.workers if w.state in WANTED]
    require(not wanted, f"{wanted} while parked")
    require(step.after.phase == "idle", f"parked in {step.after.phase}")


def one_slot_is_replaced_at_a_time(step: Step, policy: Policy) -> None:
    """Whatever the cause, one successor boots, or none."""
    found = [slot.index for slot in step.after.slots if slot.successor is not None]
    require(len(found) <= 1, f"successors in the slots {found}")


def nobody_outlives_its_time_unmarked(step: Step, policy: Policy) -> None:
    """An owner that is too old is marked, whatever else goes on."""
    if policy.max_lifetime_s is None or step.ledger.stop_at is not None:
        return
    most_s = policy.max_lifetime_s + policy.max_lifetime_jitter_s
    for slot in step.after.slots:
        owner = slot.owner
        if owner is not None and owner.state == "serving" and not owner.retire_reason:
            # Its age counts from its spawn; its time from when it was ready.
            bound_s = most_s + policy.boot_timeout_s + policy.rollout_timeout_s
            require(owner.age_s <= bound_s, f"{owner} is too old")


def stages_are_told_truly(step: Step, policy: Policy) -> None:
    """Ready is told only by who has served; nothing is told after the end was."""
    told = step.ledger.stages
    if Stage.STOPPING in told:
        require(told[-1] is Stage.STOPPING, f"told {told}")
        require(told.count(Stage.STOPPING) == 1, f"told {told}")
    if Stage.READY in told:
        require(step.after.has_served, f"told {told} before anybody served")
    is_idle = step.after.phase == "idle" and not step.after.is_ending
    if told and is_idle:
        require(told[-1] is Stage.READY, f"told {told}, and nothing is under way")


def tasks_run_in_one_worker(step: Step, policy: Policy) -> None:
    """Never do two workers run the tasks that run once."""
    running = [w.worker for w in step.world.workers.values() if w.runs_tasks]
    require(len(running) <= 1, f"workers {running} all run them")
    granted = [each.worker for each in step.actions if isinstance(each, GrantLease)]
    left = set(running) - {step.before.task_holder}
    require(not (granted and left), f"granted to {granted} while {left} run them")


def tasks_are_run_soon(step: Step, policy: Policy) -> None:
    """Within a second of the end of who ran the tasks another one runs them."""
    world, ledger, now = step.world, step.ledger, step.world.now
    holder = world.workers.get(step.after.task_holder or 0)
    able = [
        worker
        for each in serving(step.after) - ledger.returned
        if (worker := world.workers.get(each)) is not None
        and worker.code.has_tasks
        and worker.is_fit(now, MOVED_S)
    ]
    is_excused = (
        not able
        or any(worker.runs_tasks for worker in world.workers.values())
        or (holder is not None and not holder.is_fit(now, MOVED_S))
        or ledger.stop_at is not None
        or not step.after.has_served
        or now < world.slept_at + MOVED_S
    )
    if is_excused:
        ledger.tasks_rest_since = None
        return
    since = ledger.tasks_rest_since = ledger.tasks_rest_since or now
    require(now - since <= MOVED_S, f"nobody runs them since {since}: {able}")


INVARIANTS = (
    never_fewer_serving,
    at_most_two_generations,
    at_most_two_forkservers,
    every_pid_is_accounted_for,
    surge_is_at_most_one,
    stop_ends,
    endings_are_bounded,
    exit_comes_last,
    tickets_are_answered_once,
    success_means_new_code_everywhere,
    trial_touches_no_old_worker,
    clients_are_disturbed_for_a_canary_only,
    endings_only_rise,
    orders_reach_somebody,
    adoptions_are_paired,
    adopters_are_fit,
    no_slot_is_left_alone,
    weights_are_sane,
    spawns_are_possible,
    nobody_healthy_is_ended,
    who_misbehaves_is_ended_at_once,
    nobody_hangs_for_ever,
    only_who_hangs_is_taken_back_for_it,
    sleep_ends_nobody,
    only_the_healthy_are_admitted,
    rollouts_are_bounded,
    recycled_workers_are_replaced_first,
    parked_services_rest,
    room_is_made_in_one_slot_and_for_lack_of_memory,
    a_canary_takes_no_room_that_another_needs,
    one_slot_is_replaced_at_a_time,
    nobody_outlives_its_time_unmarked,
    stages_are_told_truly,
    tasks_run_in_one_worker,
    tasks_are_run_soon,
)
