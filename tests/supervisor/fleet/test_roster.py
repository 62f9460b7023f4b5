import msgspec
import pytest

from blazeio_supervisor.fleet.roster import ForkserverHandle, Roster, WorkerHandle
from blazeio_supervisor.fleet.worker_state import State


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
    other = copy(roster)
    assert other.slots[0].owner is other.workers[1]
    assert other.slots[1].adopter is other.workers[1]
    assert other.slots[0].successor is None
