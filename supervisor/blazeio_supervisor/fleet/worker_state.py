"""The states of a process as a table: state and event give the next state.

After s6-supervise: what is *wanted* of a process is apart from what it *is*. A
wanted one (``WANTED``) boots or serves; any other is ending, and can never become
wanted again, since a process is never used twice. Forkservers have the same states:
they boot (import) and serve (fork).

The table is total: each event in each state has its entry, even when the
answer is to ignore it, because messages come late and twice. No ``End`` can be
sent twice, since each one leads to a state that does not send it.
"""

from enum import StrEnum

from msgspec import Struct

from blazeio_supervisor.fleet.actions import StopMode


class State(StrEnum):
    """What the process is, as far as the master knows."""

    SPAWNING = "spawning"  # asked for; no pid yet
    CANCELLED = "cancelled"  # asked for, no longer wanted; no pid yet
    BOOTING = "booting"  # has a pid, is not ready
    STANDBY = "standby"  # a canary: ready, not yet admitted to its slot
    SERVING = "serving"
    DRAINING = "draining"
    TERMINATING = "terminating"  # was sent TERM
    KILLING = "killing"  # was sent KILL
    GONE = "gone"  # reaped, or given up before it had a pid


class Event(StrEnum):
    """What happens to a process: reported by it, ordered, or by time alone."""

    FORKED = "forked"
    READY = "ready"
    STOOD_BY = "stood_by"  # ready, said by a canary
    ADMITTED = "admitted"
    DRAIN = "drain"
    TERM = "term"
    KILL = "kill"
    OVERDUE = "overdue"  # the deadline of its state has passed
    EXITED = "exited"


class Step(Struct, frozen=True):
    """The next state, and what must be sent to the process to get there."""

    state: State
    send: StopMode | None = None


WANTED = frozenset({State.SPAWNING, State.BOOTING, State.STANDBY, State.SERVING})
HAS_NO_PID = frozenset({State.SPAWNING, State.CANCELLED})
FAILING = frozenset({Event.EXITED, Event.OVERDUE})  # for a wanted one

_DRAIN = Step(State.DRAINING, StopMode.DRAIN)
_TERM = Step(State.TERMINATING, StopMode.TERM)
_KILL = Step(State.KILLING, StopMode.KILL)
_GONE = Step(State.GONE)


_ROWS: dict[State, dict[Event, Step]] = {
    State.SPAWNING: {
        Event.FORKED: Step(State.BOOTING),
        # Nothing can be sent to a process that may not exist yet.
        Event.DRAIN: Step(State.CANCELLED),
        Event.TERM: Step(State.CANCELLED),
        Event.KILL: Step(State.CANCELLED),
        Event.OVERDUE: _GONE,
        Event.EXITED: _GONE,
        # A worker can be ready before the forkserver has named its pid. The master
        # holds that back: whoever serves has a pid, by which it can be killed.
        **dict.fromkeys(
            (Event.READY, Event.STOOD_BY, Event.ADMITTED), Step(State.SPAWNING)
        ),
    },
    State.CANCELLED: {
        Event.FORKED: _TERM,
        Event.OVERDUE: _GONE,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
                Event.KILL,
            ),
            Step(State.CANCELLED),
        ),
    },
    State.BOOTING: {
        Event.READY: Step(State.SERVING),
        Event.STOOD_BY: Step(State.STANDBY),
        Event.DRAIN: _TERM,  # it does not listen to its channel while it boots
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.OVERDUE: _TERM,
        Event.EXITED: _GONE,
        **dict.fromkeys((Event.FORKED, Event.ADMITTED), Step(State.BOOTING)),
    },
    State.STANDBY: {
        Event.ADMITTED: Step(State.SERVING),
        Event.DRAIN: _DRAIN,
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (Event.FORKED, Event.READY, Event.STOOD_BY, Event.OVERDUE),
            Step(State.STANDBY),
        ),
    },
    State.SERVING: {
        Event.DRAIN: _DRAIN,
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (Event.FORKED, Event.READY, Event.STOOD_BY, Event.ADMITTED, Event.OVERDUE),
            Step(State.SERVING),
        ),
    },
    State.DRAINING: {
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.OVERDUE: _TERM,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (Event.FORKED, Event.READY, Event.STOOD_BY, Event.ADMITTED, Event.DRAIN),
            Step(State.DRAINING),
        ),
    },
    State.TERMINATING: {
        Event.KILL: _KILL,
        Event.OVERDUE: _KILL,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (
                Event.FORKED,
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
            ),
            Step(State.TERMINATING),
        ),
    },
    State.KILLING: {
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (
                Event.FORKED,
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
                Event.KILL,
                Event.OVERDUE,
            ),
            Step(State.KILLING),
        ),
    },
    State.GONE: {
        # The answer to a Spawn that was given up on: it is not ours to keep.
        Event.FORKED: _KILL,
        **dict.fromkeys(
            (
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
                Event.KILL,
                Event.OVERDUE,
                Event.EXITED,
            ),
            Step(State.GONE),
        ),
    },
}

TABLE: dict[tuple[State, Event], Step] = {
    (state, event): step for state, row in _ROWS.items() for event, step in row.items()
}
