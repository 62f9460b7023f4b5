from blazeio_supervisor.ipc.scoreboard import (
    CELL_COUNT,
    LAG,
    LATENCY_EDGES_S,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    STATUS_CLASSES,
    Tally,
    first_cell,
)


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
