import pytest

from blazeio_supervisor.fleet.actions import StopMode
from blazeio_supervisor.fleet.roster import (
    HAS_NO_PID,
    TABLE,
    WANTED,
    Event,
    State,
)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_event_in_every_state_has_an_entry(state: State, event: Event) -> None:
    assert (state, event) in TABLE


def test_table_holds_nothing_else() -> None:
    assert len(TABLE) == len(State) * len(Event)


# The rules from which each entry follows

PROGRESS = {
    (State.SPAWNING, Event.FORKED): State.BOOTING,
    (State.BOOTING, Event.READY): State.SERVING,
    (State.BOOTING, Event.STOOD_BY): State.STANDBY,
    (State.STANDBY, Event.ADMITTED): State.SERVING,
    # Nobody waits for these any more.
    (State.CANCELLED, Event.FORKED): State.TERMINATING,
    (State.GONE, Event.FORKED): State.KILLING,
}
ORDERS = {
    Event.DRAIN: State.DRAINING,
    Event.TERM: State.TERMINATING,
    Event.KILL: State.KILLING,
}
ENDINGS = list(ORDERS.values())
AFTER_ITS_TIME = {
    State.SPAWNING: State.GONE,
    State.CANCELLED: State.GONE,
    State.BOOTING: State.TERMINATING,
    State.DRAINING: State.TERMINATING,
    State.TERMINATING: State.KILLING,
}
SENT = dict(zip(ENDINGS, (StopMode.DRAIN, StopMode.TERM, StopMode.KILL), strict=True))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "event", [Event.FORKED, Event.READY, Event.STOOD_BY, Event.ADMITTED]
)
def test_what_is_reported_counts_where_it_is_waited_for(
    state: State, event: Event
) -> None:
    assert TABLE[state, event].state is PROGRESS.get((state, event), state)


@pytest.mark.parametrize("state", sorted({*State} - HAS_NO_PID - {State.GONE}))
@pytest.mark.parametrize("event", ORDERS)
def test_an_order_is_obeyed_unless_a_harder_one_was(state: State, event: Event) -> None:
    wanted = ORDERS[event]
    if state is State.BOOTING and event is Event.DRAIN:
        wanted = State.TERMINATING  # it does not listen to its channel
    if state in ENDINGS[ENDINGS.index(wanted) :]:
        wanted = state
    assert TABLE[state, event].state is wanted


@pytest.mark.parametrize("event", ORDERS)
def test_an_order_to_nobody_is_remembered(event: Event) -> None:
    for state in HAS_NO_PID:
        assert TABLE[state, event].state is State.CANCELLED
    assert TABLE[State.GONE, event].state is State.GONE


@pytest.mark.parametrize("state", State)
def test_whose_time_is_over_is_ended_harder(state: State) -> None:
    assert TABLE[state, Event.OVERDUE].state is AFTER_ITS_TIME.get(state, state)
    assert TABLE[state, Event.EXITED].state is State.GONE


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_who_begins_to_end_is_sent_what_it_takes(state: State, event: Event) -> None:
    step = TABLE[state, event]
    assert step.send is (None if step.state is state else SENT.get(step.state))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_who_is_not_wanted_never_becomes_wanted(state: State, event: Event) -> None:
    assert state in WANTED or TABLE[state, event].state not in WANTED


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_an_ending_is_never_sent_twice(state: State, event: Event) -> None:
    step = TABLE[state, event]
    if step.send is not None:
        again = {TABLE[step.state, e].send for e in Event}
        assert step.send not in again


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_is_sent_changes_the_state(state: State, event: Event) -> None:
    step = TABLE[state, event]
    assert step.send is None or step.state is not state


HAS_PID = set(State) - HAS_NO_PID - {State.GONE}


@pytest.mark.parametrize("state", sorted(HAS_PID))
def test_with_a_pid_only_an_exit_ends_a_life(state: State) -> None:
    assert [e for e in Event if TABLE[state, e].state is State.GONE] == [Event.EXITED]


def test_a_fork_that_was_given_up_on_is_killed_when_it_is_answered() -> None:
    assert TABLE[State.GONE, Event.FORKED].send is StopMode.KILL


@pytest.mark.parametrize("state", sorted(HAS_NO_PID))
@pytest.mark.parametrize("event", Event)
def test_only_the_answer_to_a_fork_brings_a_pid_and_an_order(
    state: State, event: Event
) -> None:
    step = TABLE[state, event]
    if event is not Event.FORKED:
        assert step.state in HAS_NO_PID | {State.GONE}
        assert step.send is None
