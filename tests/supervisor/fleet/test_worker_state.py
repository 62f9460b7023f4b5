import pytest

from blazeio_supervisor.fleet.actions import StopMode
from blazeio_supervisor.fleet.worker_state import (
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
