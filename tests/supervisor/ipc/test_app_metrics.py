"""The metrics of the app in a row of the scoreboard, and their sums."""

import math
import os
from collections.abc import Iterator

import msgspec
import pytest

from blazeio.app.metric_series import CELL_COUNT, Combine, MetricFamily
from blazeio.errors import ConfigurationError
from blazeio_supervisor.ipc import row_tables
from blazeio_supervisor.ipc.packing import (
    pack,
    unpack,
)
from blazeio_supervisor.ipc.row_tables import (
    MOST,
    TEXT_BYTES,
    AppTotals,
    RegionReader,
    RowCells,
)
from blazeio_supervisor.ipc.scoreboard import Row, RowAllocator, make_row_memory

ORDERS = MetricFamily("orders", "counter", "Orders.", ("kind",))
SIZES = MetricFamily("sizes", "histogram", bounds=(1.0, 2.0))


class Writer:
    """A worker's side of a row, and the master's."""

    def __init__(self) -> None:
        self.row = Row(make_row_memory())
        self.own = Row(os.dup(self.row.fileno()))
        self.cells = RowCells(self.own.app)

    def write(
        self, family: MetricFamily, values: tuple[str, ...], *cells: float
    ) -> None:
        at = self.cells.add(family, values)
        for place, value in enumerate(cells, at):
            self.own.app.cells[place] = value

    def write_text(self, text: bytes) -> None:
        at = int(self.own.app.extent)
        self.own.app.text[at : at + len(text)] = text
        self.own.app.extent = at + len(text)

    def close(self) -> None:
        self.own.close()
        self.row.close()


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    made = [Writer() for _ in range(3)]
    yield made
    for each in made:
        each.close()


def read(*writers: Writer) -> dict[str, dict[tuple[str, ...], list[float]]]:
    totals = AppTotals()
    for number, writer in enumerate(writers):
        writer.row.add_app_to(totals, number, number)
    return {name: total.series for name, total in totals.families.items()}


def test_what_a_worker_counts_is_added_up(writers: list[Writer]) -> None:
    one, other, idle = writers
    one.write(ORDERS, ("book",), 3.0)
    one.write(SIZES, (), 4.5, 1, 2, 3)
    other.write(ORDERS, ("pen",), 7.0)
    other.write(ORDERS, ("book",), 2.0)
    other.write(SIZES, (), 1.5, 10, 20, 30)
    assert read(one, other, idle) == {
        "orders": {("book",): [5.0], ("pen",): [7.0]},
        "sizes": {(): [6.0, 11, 22, 33]},
    }


def test_what_comes_later_is_read_later(writers: list[Writer]) -> None:
    writer = writers[0]
    assert read(writer) == {}
    writer.write(ORDERS, ("a",), 1.0)
    assert read(writer) == {"orders": {("a",): [1.0]}}
    writer.write(ORDERS, ("b",), 2.0)
    writer.own.app.cells[0] = 5.0
    assert read(writer) == {"orders": {("a",): [5.0], ("b",): [2.0]}}


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("sum", {(): [4.0]}),
        ("max", {(): [3.0]}),
        ("min", {(): [1.0]}),
        ("latest", {(): [1.0, 9.0]}),
        ("slot", {("0",): [3.0], ("1",): [1.0]}),
    ],
)
def test_gauges_are_one_in_the_way_that_was_declared(
    writers: list[Writer],
    combine: Combine,
    expected: dict[tuple[str, ...], list[float]],
) -> None:
    family = MetricFamily("depth", "gauge", combine=combine)
    stamps = (5.0, 9.0) if combine == "latest" else ()
    writers[0].write(family, (), 3.0, *stamps[:1])
    writers[1].write(family, (), 1.0, *stamps[1:])
    assert read(*writers[:2]) == {"depth": expected}


def test_what_a_dead_worker_has_counted_stays_but_its_gauges_go() -> None:
    ledger = RowAllocator()
    for number in (1, 2):
        row = ledger.take()
        cells = RowCells(row.app)
        row.app.cells[cells.add(ORDERS, ("book",))] = 3.0
        row.app.cells[cells.add(MetricFamily("depth", "gauge"), ())] = 9.0
        ledger.fold(row, 0, number)
    families = ledger.app_past.families
    assert {name: total.series for name, total in families.items()} == {
        "orders": {("book",): [6.0]}
    }
    again = unpack(pack(ledger.app_past), AppTotals)
    assert again == ledger.app_past == RowAllocator({}, again).app_past


def test_a_reading_leaves_the_sums_of_the_dead_alone(writers: list[Writer]) -> None:
    past = AppTotals()
    writers[0].write(ORDERS, ("book",), 3.0)
    writers[0].row.add_app_to(past, 1, None)
    now = past.copy()
    writers[0].row.add_app_to(now, 2, 0)
    assert past.families["orders"].series == {("book",): [3.0]}
    assert now.families["orders"].series == {("book",): [6.0]}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_declarations_that_of_the_newer_worker_counts(
    writers: list[Writer], order: tuple[int, int]
) -> None:
    newer = msgspec.structs.replace(ORDERS, label_names=("kind", "shop"))
    writers[0].write(ORDERS, ("book",), 3.0)
    writers[1].write(newer, ("book", "a"), 4.0)
    totals = AppTotals()
    for number in order:
        writers[number].row.add_app_to(totals, number, number)
    assert totals.families["orders"].series == {("book", "a"): [4.0]}
    assert totals.cell_count == 1


def test_another_help_is_the_same_metric(writers: list[Writer]) -> None:
    writers[0].write(ORDERS, ("book",), 3.0)
    writers[1].write(msgspec.structs.replace(ORDERS, help="New."), ("book",), 4.0)
    totals = AppTotals()
    for number in (1, 0):
        writers[number].row.add_app_to(totals, number, number)
    total = totals.families["orders"]
    assert (total.family.help, total.series) == ("New.", {("book",): [7.0]})


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 2 * MOST])
def test_what_no_counter_holds_is_read_as_0(
    writers: list[Writer], value: float
) -> None:
    writers[0].write(ORDERS, ("book",), value)
    writers[0].write(SIZES, (), math.nan, value, 1, 1)
    assert read(writers[0]) == {
        "orders": {("book",): [0.0]},
        "sizes": {(): [0.0, 0.0, 1, 1]},
    }
    assert not writers[0].row.fault


FAMILY = msgspec.json.encode(ORDERS)
HOSTILE = [
    b"{\n",
    b"[0,[],0]\n",
    b'{"name":"blazeio_up","kind":"gauge"}\n',
    b'{"name":"a b","kind":"gauge"}\n',
    b'{"name":"a","kind":"other"}\n',
    FAMILY + b'\n[1,["x"],0]\n',
    FAMILY + b'\n[-1,["x"],0]\n',
    FAMILY + b"\n[0,[],0]\n",
    FAMILY + b'\n[0,["x"],-1]\n',
    FAMILY + b'\n[0,["x"],%d]\n' % CELL_COUNT,
    FAMILY + b'\n[0,["%s"],0]\n' % (b"x" * 201),
    b"\xff\xfe\n",
    b"[" * 10_000 + b"\n",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_that_none_of_ours_writes_is_a_fault(
    writers: list[Writer], text: bytes
) -> None:
    writers[0].write_text(text)
    assert read(writers[0]).get("orders", {}) == {}
    assert "its metrics cannot be read" in writers[0].row.fault


@pytest.mark.parametrize("extent", [math.nan, math.inf, -1.0, TEXT_BYTES + 1.0])
def test_an_extent_that_cannot_be_is_a_fault(
    writers: list[Writer], extent: float
) -> None:
    writers[0].own.app.extent = extent
    assert read(writers[0]) == {}
    assert "its metrics cannot be read" in writers[0].row.fault


def test_there_is_room_for_so_many_cells(writers: list[Writer]) -> None:
    for number in range(CELL_COUNT):
        writers[0].cells.add(ORDERS, (str(number),))
    with pytest.raises(ConfigurationError, match="16,384 cells"):
        writers[0].cells.add(ORDERS, ("more",))
    assert len(read(writers[0])["orders"]) == CELL_COUNT


def test_there_is_room_for_so_much_text(writers: list[Writer]) -> None:
    def fill() -> None:
        for number in range(CELL_COUNT):
            writers[0].cells.add(ORDERS, (f"{number:0200}",))

    with pytest.raises(ConfigurationError, match=f"more than {TEXT_BYTES:,} octets"):
        fill()
    assert read(writers[0])["orders"]


def test_a_metric_is_declared_in_one_way(writers: list[Writer]) -> None:
    writers[0].write(ORDERS, ("a",), 1.0)
    with pytest.raises(ConfigurationError, match="declared twice"):
        writers[0].cells.add(msgspec.structs.replace(ORDERS, label_names=()), ())


def test_texts_that_are_no_unicode_are_written(writers: list[Writer]) -> None:
    writers[0].write(ORDERS, ("a\udcff",), 1.0)
    assert read(writers[0]) == {"orders": {("a?",): [1.0]}}


def test_sums_that_have_no_room_are_counted(
    writers: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_tables, "TOTAL_CELL_COUNT", 2)
    for kind in ("a", "b", "c"):
        writers[0].write(ORDERS, (kind,), 1.0)
    totals = AppTotals()
    totals.add(RegionReader(writers[0].row.app), 1, 0)
    assert list(totals.families["orders"].series) == [("a",), ("b",)]
    assert totals.dropped == 1


def test_an_app_without_metrics_takes_no_memory_for_them() -> None:
    row = Row(make_row_memory())
    row.beat(1.0, 0.0)
    row.add_app_to(AppTotals(), 1, 0)
    pages = os.fstat(row.fileno()).st_blocks * 512
    row.close()
    assert pages <= 4096
