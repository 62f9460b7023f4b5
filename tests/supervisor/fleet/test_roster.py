import msgspec
import pytest

from blazeio_supervisor.fleet.roster import (
    ForkserverHandle,
    Roster,
    State,
    WorkerHandle,
)


def worker(number: int, state: State = State.SERVING) -> WorkerHandle:
    return WorkerHandle(number, 0, 1, 0.0, None, state=state)


def test_serial_numbers_are_never_given_out_twice() -> None:
    roster = Roster.with_slots(1)
    assert [roster.next_worker() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(("number", "was"), [(0, False), (1, True), (2, False)])
def test_it_knows_which_numbers_were_given_out(number: int, was: bool) -> None:
    roster = Roster.with_slots(1)
    roster.next_worker()
    assert roster.was_given_out(number) is was


def test_successor_moves_up_when_the_owner_leaves() -> None:
    roster = Roster.with_slots(1)
    slot = roster.slots[0]
    slot.owner, slot.successor = worker(1), worker(2)
    roster.vacate(slot.owner)
    assert [s.owner and s.owner.worker for s in roster.slots] == [2]
    assert not roster.is_replacing()


def test_successor_that_leaves_leaves_the_owner() -> None:
    roster = Roster.with_slots(1)
    slot = roster.slots[0]
    slot.owner, slot.successor = worker(1), worker(2)
    roster.vacate(slot.successor)
    assert slot.owner.worker == 1
    assert slot.successor is None


def test_canary_that_has_no_place_leaves_none() -> None:
    roster = Roster.with_slots(1)
    slot = roster.slots[0]
    slot.owner, slot.successor = worker(1), worker(2)
    roster.vacate(worker(3))
    assert slot.owner.worker == 1
    assert slot.successor.worker == 2


@pytest.mark.parametrize(
    ("ready_at", "is_stable"), [(None, False), (8.0, True), (8.25, False)]
)
def test_stable_is_who_has_served_for_so_long(
    ready_at: float | None, is_stable: bool
) -> None:
    handle = worker(1)
    handle.ready_at = ready_at
    assert handle.is_stable(10.0, 2.0) is is_stable


def test_of_failures_that_are_forgotten_nothing_is_left() -> None:
    slot = Roster.with_slots(1).slots[0]
    slot.fail("it died", 9.0, was_ready=True)
    slot.fail("it was late", 10.0, was_ready=False)
    assert (slot.failure, slot.failed_at) == ("it was late", 10.0)
    assert slot.deaths_serving == 1
    slot.reset_failures()
    assert (slot.failure, slot.failed_at, slot.deaths_serving) == ("", None, 0)


@pytest.mark.parametrize(
    ("awaits", "has_owner", "can_fork", "next_at", "makes_room"),
    [
        (None, True, True, 0.0, False),
        (None, False, True, 0.0, False),
        (1, False, False, 0.0, True),  # it drains
        (9, False, False, 0.0, False),  # it is gone, and there is no forkserver
        (9, False, True, 10.0, True),  # the next one starts in this turn
        (9, False, True, 10.5, False),  # that one has failed, and is waited with
        (9, True, True, 10.5, True),  # that one boots
    ],
)
def test_room_is_made_until_the_next_one_serves(
    awaits: int | None,
    has_owner: bool,
    can_fork: bool,
    next_at: float,
    makes_room: bool,
) -> None:
    roster = Roster.with_slots(2)
    if can_fork:
        roster.forkservers[1] = ForkserverHandle(1, None, State.SERVING)
    roster.slots[1].backoff.next_at = next_at
    roster.workers[1] = worker(1, State.DRAINING)
    roster.slots[1].awaits = awaits
    roster.slots[1].owner = worker(2, State.BOOTING) if has_owner else None
    assert roster.is_making_room(10.0) is makes_room
    assert roster.is_replacing() is (awaits is not None)


def test_a_canary_is_alone_where_its_slot_has_no_owner() -> None:
    roster = Roster.with_slots(2)
    assert roster.lone_canary() is None
    canary = roster.workers[5] = worker(5, State.STANDBY)
    assert roster.lone_canary() is None
    canary.state = State.SERVING
    assert roster.lone_canary() is canary
    roster.slots[0].owner = worker(1)
    assert roster.lone_canary() is None


def test_slots_that_exist_already_are_parked_beyond_those_that_are_wanted() -> None:
    roster = Roster.with_slots(2)
    roster.park_beyond(4)
    roster.park_beyond(1)
    assert [(slot.index, slot.is_parked) for slot in roster.slots] == [
        (0, False),
        (1, False),
        (2, True),
        (3, True),
    ]
    assert [slot.index for slot in roster.active()] == [0, 1]


def test_a_generation_can_be_forked_from_while_its_forkserver_serves() -> None:
    roster = Roster.with_slots(1)
    assert [roster.next_generation() for _ in range(2)] == [1, 2]
    assert not roster.can_fork(1)
    roster.forkservers[1] = ForkserverHandle(1, None)
    assert not roster.can_fork(1)
    roster.forkservers[1].state = State.SERVING
    assert roster.can_fork(1)
    assert not roster.can_fork(2)


def test_serving_are_the_owners_that_accept() -> None:
    roster = Roster.with_slots(3)
    roster.slots[0].owner = worker(1, State.BOOTING)
    roster.slots[2].owner = worker(2)
    assert [handle.worker for handle in roster.serving()] == [2]


def test_identities_in_log_lines() -> None:
    assert str(worker(4)) == "worker=4 slot=0 gen=1 pid=-"
    assert str(ForkserverHandle(3, None)) == "forkserver gen=3"


def copy(roster: Roster) -> Roster:
    octets = msgspec.msgpack.encode(roster)
    return msgspec.msgpack.decode(octets, type=Roster)


def test_an_adopter_that_has_ended_is_not_named_in_a_copy() -> None:
    roster = Roster.with_slots(2)
    roster.slots[0].adopter = WorkerHandle(1, 1, 1, 0.0, None)
    assert [slot.adopter for slot in copy(roster).slots] == [None, None]


def test_the_slots_of_a_copy_name_the_workers_of_the_copy() -> None:
    roster = Roster.with_slots(2)
    handle = roster.workers[1] = WorkerHandle(1, 0, 1, 0.0, None)
    roster.slots[0].owner = roster.slots[1].adopter = handle
    roster.slots[1].successor = handle
    other = copy(roster)
    assert other.slots[0].owner is other.workers[1]
    assert other.slots[1].adopter is other.workers[1]
    assert other.slots[1].successor is other.workers[1]
    assert other.slots[0].successor is None
