import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.ipc import scoreboard
from blazeio_supervisor.ipc.row_tables import (
    FAILING_COUNT,
    ROUTE_TEXT_BYTES,
    RouteReading,
)
from blazeio_supervisor.ipc.scoreboard import (
    BEGUN_BYTES,
    BEGUN_COUNT,
    CELL_COUNT,
    HALF,
    LAG,
    LAG_EDGES_S,
    LATENCY_EDGES_S,
    LONGEST_BYTES,
    MOST,
    ONE,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    ROW_BYTES,
    STATUS_CLASSES,
    LongestRequest,
    Row,
    RowAllocator,
    RowReading,
    Tally,
    ThreadLoad,
    first_cell,
    make_row_memory,
)

BLANK = RowReading(0.0, 0.0, 0, 0, 0, False)
IMPOSSIBLE = (math.nan, math.inf, -math.inf, -1.0, -5e-324, 2 * MOST, 1e308)


@pytest.fixture
def row() -> Iterator[Row]:
    made = Row(make_row_memory())
    yield made
    made.close()


def test_what_one_process_writes_another_mapping_reads(row: Row) -> None:
    writer = Row(os.dup(row.fileno()))
    now = time.monotonic()
    writer.count(in_flight=3, connections=10, requests=2**40, is_full=True)
    writer.beat(at=now, late_s=0.5)
    assert row.read() == RowReading(now, 0.25, 3, 10, 2**40, True)
    assert not row.fault
    writer.close()


def test_what_runs_on_and_what_waits_for_a_thread_are_read(row: Row) -> None:
    threads = ThreadLoad(4, 3, 12)
    row.count(20, 10, 40, background=2, threads=threads)
    reading = row.read()
    assert (reading.background, reading.threads) == (2, threads)


def test_each_beat_is_counted_by_how_late_it_is(row: Row) -> None:
    for late_s in (0.0, LAG_EDGES_S[1], 0.002, 60.0):
        row.beat(1.0, late_s)
    lag = row.read_tally().lag
    assert lag.counts == (2, 1, *[0] * (len(LAG_EDGES_S) - 4), 1)
    assert lag.total_s == pytest.approx(60.003)


def test_the_request_in_flight_for_longest_is_named(row: Row) -> None:
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


def test_the_last_requests_that_began_are_named_the_newest_first(row: Row) -> None:
    assert row.read_begun() == []
    for number in range(1, 2 * BEGUN_COUNT):
        row.name_begun(number, f"GET /{number}?secret")
    last = 2 * BEGUN_COUNT - 1
    expected = [f"GET /{each}" for each in range(last, last - BEGUN_COUNT, -1)]
    assert row.read_begun() == expected
    row.name_begun(last + 1, f"GET /{last}")
    assert row.read_begun()[0] == f"GET /{last}"
    assert len(row.read_begun()) == BEGUN_COUNT - 1  # each is named once
    row.name_begun(last + 2, "GET /" + "é" * BEGUN_BYTES)
    assert row.read_begun()[0].startswith("GET /éé")


def test_of_those_that_began_earlier_only_the_newest_is_named(row: Row) -> None:
    for number in (1, 7, 8):
        row.name_begun(number, f"GET /{number}")
    assert row.read_begun(after=6) == ["GET /8", "GET /7"]
    assert row.read_begun(after=100) == ["GET /8"]


def test_names_that_no_worker_wrote_are_read_within_their_bounds(row: Row) -> None:
    for octets in (b"\xff", b"\0", b"\x7f"):
        row._octets[:] = octets * ROW_BYTES
        assert all(len(each) <= BEGUN_BYTES for each in row.read_begun())


def test_a_row_has_room_for_all_that_is_counted() -> None:
    assert 8 * (16 + CELL_COUNT) <= scoreboard._ROUTES_AT


def test_each_route_is_read_as_it_was_counted(row: Row) -> None:
    assert row.read_routes() == []
    place = row.routes.add_answered(7)
    assert place is not None
    row.routes.count_answered(place)
    row.routes.write_failing(0, 7, 3, "GET /orders in app.orders")
    assert row.read_routes() == [RouteReading(7, 1, 3, "GET /orders in app.orders")]
    row.routes.write_failing(0, 8, 4, "x" * 1000)
    row.routes.write_failing(FAILING_COUNT - 1, 9, 5, "GET /" + "\udcff")
    found = {each.key: each for each in row.read_routes()}
    assert found == {
        7: RouteReading(7, 1),
        8: RouteReading(8, 0, 4, "x" * ROUTE_TEXT_BYTES),
        9: RouteReading(9, 0, 5, "GET /?"),
    }
    assert row.read_begun() == []
    assert row.fault == ""


def test_routes_that_no_worker_wrote_are_found_out(row: Row) -> None:
    for octets in (b"\xff", b"\x7f"):
        row._octets[:] = octets * ROW_BYTES
        row.fault = ""
        for each in row.read_routes():
            assert (each.key, each.answered, each.failed) == (0, 0, 0)
        assert "holds" in row.fault


def test_spans_are_counted_whatever_the_status(row: Row) -> None:
    for status, bucket in ((200, 1), (200, 3), (404, 3), (500, 15)):
        row.counted[first_cell(status) + bucket] += 1
        row.counted[first_cell(status)] += 0.5  # the sum of spans is none of them
    spans = row.read_tally().count_spans()
    assert len(spans) == len(LATENCY_EDGES_S) - 1
    assert (spans[0], spans[2], spans[14], sum(spans)) == (1, 2, 1, 4)


def test_each_row_is_a_memory_of_its_own(row: Row) -> None:
    other = Row(make_row_memory())
    other.count(1, 2, 3)
    assert row.read() == BLANK
    other.close()


@pytest.mark.parametrize("size", [0, ROW_BYTES - 1, ROW_BYTES + 1, 10**9])
def test_nobody_can_change_the_size_of_the_memory(row: Row, size: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(row.fileno(), size)


def test_nobody_can_write_behind_it(row: Row) -> None:
    with pytest.raises(PermissionError):
        os.pwrite(row.fileno(), b"x", ROW_BYTES)
    assert os.fstat(row.fileno()).st_size == ROW_BYTES


def test_the_memory_is_not_inherited(row: Row) -> None:
    assert not os.get_inheritable(row.fileno())


def test_a_worker_keeps_the_mapping_and_no_descriptor(row: Row) -> None:
    writer = Row(fd := os.dup(row.fileno()))
    writer.keep_mapping()
    assert writer.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    writer.count(1, 2, 3)
    assert row.read().connections == 2
    writer.close()


# What foreign code may write there


@pytest.mark.parametrize("value", IMPOSSIBLE)
@pytest.mark.parametrize("cell", range(5))
def test_what_no_worker_means_is_read_as_nothing_and_noted(
    row: Row, cell: int, value: float
) -> None:
    row.cells[cell] = value
    assert row.read() == BLANK
    assert repr(value) in row.fault


@pytest.mark.parametrize("value", IMPOSSIBLE)
@pytest.mark.parametrize("cell", [0, 1, CELL_COUNT // 2, CELL_COUNT - 1])
def test_a_count_that_cannot_be_counts_as_none(
    row: Row, cell: int, value: float
) -> None:
    row.counted[cell] = value
    row.counted[cell - 1] = 7.0
    cells = row.read_tally().cells
    assert cells[cell] == 0.0
    assert cells[cell - 1] == 7.0
    assert row.fault


@pytest.mark.parametrize("value", [*IMPOSSIBLE, 2.0 * HALF])
def test_a_batch_that_cannot_be_counts_as_none(row: Row, value: float) -> None:
    row.write_usual(0, 5, 50, 0.5)
    row.usual[0] = value
    assert row.read_tally().latency("2xx").count == 5
    assert repr(value) in row.fault


@pytest.mark.parametrize("value", IMPOSSIBLE)
@pytest.mark.parametrize("place", range(3))
def test_a_sum_of_batches_that_cannot_be_counts_as_none(
    row: Row, place: int, value: float
) -> None:
    sums = [5.0, 50.0, 0.5]
    sums[place] = value
    row.usual[0] = HALF + 2 * ONE + 20 + 0.25
    row.write_usual(1, *sums)
    tally = row.read_tally()
    found = (
        tally.latency("2xx").counts[0],
        tally.response_bytes,
        tally.latency("2xx").total_s,
    )
    expected = [7, 70, 0.75]
    expected[place] = (2, 20, 0.25)[place]
    assert found == tuple(expected)
    assert repr(value) in row.fault


@pytest.mark.parametrize("value", [*IMPOSSIBLE, 1e12])
def test_a_request_cannot_have_begun_then(row: Row, value: float) -> None:
    row.name_longest(LongestRequest("GET /", 1.0))
    row.cells[scoreboard._LONGEST_SINCE] = value
    assert row.read_longest() is None
    assert row.fault


def test_a_beat_cannot_come_from_the_future(row: Row) -> None:
    row.beat(time.monotonic() + 3600, 0.0)
    assert row.read().beat_at == 0.0
    assert row.fault


def test_a_text_may_be_of_any_octets(row: Row) -> None:
    row.name_longest(LongestRequest("GET /", 1.0))
    at = scoreboard._TEXT_AT
    row._octets[at : at + LONGEST_BYTES] = bytes(range(255, -1, -1))
    longest = row.read_longest()
    assert longest is not None
    assert len(longest.text) <= LONGEST_BYTES


@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_what_the_dead_have_counted_stays_a_number(row: Row, value: float) -> None:
    ledger = RowAllocator()
    for each in (value, 5.0):
        taken = ledger.take()
        taken.counted[0] = each
        ledger.fold(taken, slot=0)
    assert ledger.past[0].requests == 5


# The master's side


def test_a_new_life_begins_with_a_blank_row_that_nobody_else_maps() -> None:
    ledger = RowAllocator()
    taken = ledger.take()
    left_behind = Row(os.dup(taken.fileno()))
    ledger.fold(taken, slot=0)
    again = ledger.take()
    left_behind.count(1, 2, 3, True)
    assert again.read() == BLANK
    assert (again.read_longest(), again.read_tally()) == (None, Tally())
    again.close()
    left_behind.close()


def test_the_rows_of_the_dead_are_given_back() -> None:
    ledger = RowAllocator()
    before = count_memories()
    for _ in range(100):
        ledger.fold(ledger.take(), slot=0)
    assert count_memories() == before


def count_memories() -> tuple[int, int]:
    maps = Path("/proc/self/maps").read_text()
    return len(os.listdir("/proc/self/fd")), maps.count("blazeio-scoreboard")


def test_the_requests_of_the_dead_are_kept_by_slot() -> None:
    ledger = RowAllocator()
    for slot, requests in ((0, 5), (1, 7), (0, 11)):
        row = ledger.take()
        row.count(0, 0, requests)
        ledger.fold(row, slot)
    assert {slot: past.requests for slot, past in ledger.past.items()} == {0: 16, 1: 7}


def test_another_goes_on_with_the_counts() -> None:
    ledger = RowAllocator()
    dead = ledger.take()
    dead.count(0, 0, 7)
    ledger.fold(dead, slot=2)
    assert RowAllocator(ledger.past).past[2].requests == 7


def make_tally(**cells: float) -> Tally:
    """``c7=2`` is 2 in cell 7."""
    return Tally(tuple(cells.get(f"c{place}", 0.0) for place in range(CELL_COUNT)))


def test_a_blank_tally_has_counted_nothing() -> None:
    tally = Tally()
    assert (tally.requests, tally.request_bytes, tally.response_bytes) == (0, 0, 0)
    assert [tally.latency(each).count for each in STATUS_CLASSES] == [0] * 6
    assert tally.lag.count == 0


def test_the_sum_of_tallies_is_what_all_have_counted() -> None:
    places = (REQUESTS, REQUEST_BYTES, RESPONSE_BYTES, first_cell(200) + 1, LAG)
    cells = {f"c{place}": place + 1.0 for place in places}
    total = make_tally(**cells) + make_tally(**cells)
    assert (total.requests, total.request_bytes, total.response_bytes) == (2, 4, 6)
    assert total.latency("2xx").counts[0] == 2 * (first_cell(200) + 2)
    assert total.lag.total_s == 2 * (LAG + 1)


def test_each_status_class_has_cells_of_its_own() -> None:
    size = len(LATENCY_EDGES_S)
    found = [
        place
        for status in (0, 101, 204, 301, 404, 599)
        for place in range(first_cell(status), first_cell(status) + size)
    ]
    assert len(set(found)) == len(found)
    assert max(found) == CELL_COUNT - 1
