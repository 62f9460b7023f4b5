import os
from collections.abc import Iterator

import pytest

from blazeio_supervisor.observe.scoreboard import (
    LONGEST_BYTES,
    ROW_BYTES,
    ROW_COUNT,
    LongestRequest,
    Reading,
    RowLedger,
    Scoreboard,
    make_board,
)
from blazeio_supervisor.observe.tally import CELL_COUNT, LAG_EDGES_S, Tally


@pytest.fixture
def fd() -> Iterator[int]:
    made = make_board()
    yield made
    os.close(made)


def test_what_one_process_writes_another_mapping_reads(fd: int) -> None:
    writer, reader = Scoreboard(fd).row(7), Scoreboard(fd).row(7)
    writer.count(in_flight=3, connections=10, requests=2**40, is_full=True)
    writer.beat(at=12345.678, late_s=0.5)
    assert reader.read() == Reading(12345.678, 0.25, 3, 10, 2**40, True)


def test_each_beat_is_counted_by_how_late_it_is(fd: int) -> None:
    row = Scoreboard(fd).row(0)
    for late_s in (0.0, LAG_EDGES_S[1], 0.002, 60.0):
        row.beat(1.0, late_s)
    lag = row.read_tally().lag
    assert lag.counts == (2, 1, *[0] * (len(LAG_EDGES_S) - 4), 1)
    assert lag.total_s == pytest.approx(60.003)


def test_the_request_in_flight_for_longest_is_named(fd: int) -> None:
    row = Scoreboard(fd).row(0)
    assert row.read_longest() is None
    row.name_longest(LongestRequest("GET /b" + 500 * "é", 5.5))
    row.name_longest(LongestRequest("GET /a", 6.5))
    assert row.read_longest() == LongestRequest("GET /a", 6.5)
    row.name_longest(LongestRequest("GET /" + "é" * LONGEST_BYTES, 6.5))
    longest = row.read_longest()
    assert longest is not None
    assert longest.text.startswith("GET /éé")
    row.name_longest(None)
    assert row.read_longest() is None


def test_a_row_has_room_for_all_that_is_counted() -> None:
    assert 8 * (16 + CELL_COUNT) + LONGEST_BYTES <= ROW_BYTES


def test_rows_do_not_touch_each_other(fd: int) -> None:
    board = Scoreboard(fd)
    board.row(3).count(1, 2, 3)
    for index in (2, 4):
        assert board.row(index).read() == Reading(0.0, 0.0, 0, 0, 0, False)


@pytest.mark.parametrize("size", [0, 10**9])
def test_nobody_can_change_the_size_of_the_memory(fd: int, size: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(fd, size)


def test_the_memory_is_not_inherited(fd: int) -> None:
    assert not os.get_inheritable(fd)


def test_a_row_that_was_never_used_costs_no_memory(fd: int) -> None:
    Scoreboard(fd).row(0).count(1, 1, 1)
    assert os.fstat(fd).st_blocks * 512 <= 4096


def test_a_new_life_begins_with_a_blank_row(fd: int) -> None:
    ledger = RowLedger(Scoreboard(fd))
    row = ledger.take()
    row.count(1, 2, 3, True)
    row.beat(1.0, 2.0)
    row.name_longest(LongestRequest("GET /", 1.0))
    ledger.fold(row, slot=0)
    again = ledger.take()
    assert again.index == row.index
    assert again.read() == Reading(0.0, 0.0, 0, 0, 0, False)
    assert (again.read_longest(), again.read_tally()) == (None, Tally())


def test_the_requests_of_the_dead_are_kept_by_slot(fd: int) -> None:
    ledger = RowLedger(Scoreboard(fd))
    for slot, requests in ((0, 5), (1, 7), (0, 11)):
        row = ledger.take()
        row.count(0, 0, requests)
        ledger.fold(row, slot)
    assert {slot: past.requests for slot, past in ledger.past.items()} == {0: 16, 1: 7}


def test_each_living_worker_has_a_row_of_its_own(fd: int) -> None:
    ledger = RowLedger(Scoreboard(fd))
    assert len({ledger.take().index for _ in range(ROW_COUNT)}) == ROW_COUNT
    with pytest.raises(IndexError):
        ledger.take()


def test_a_thawed_ledger_goes_on_with_rows_and_counts(fd: int) -> None:
    ledger = RowLedger(Scoreboard(fd))
    dead, living = ledger.take(), ledger.take()
    dead.count(0, 0, 7)
    living.count(0, 0, 5)
    ledger.fold(dead, slot=2)
    thawed = RowLedger(Scoreboard(fd))
    thawed.thaw(ledger.freeze())
    assert thawed.give(living.index).read().requests == 5
    assert thawed.past[2].requests == 7
    assert thawed.take().index == dead.index
