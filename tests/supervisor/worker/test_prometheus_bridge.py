"""Values of ``prometheus_client`` in a row of the scoreboard."""

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
    values,
)

from blazeio_supervisor.ipc.row_tables import AppTotals, RowCells
from blazeio_supervisor.ipc.scoreboard import Row, make_row_memory
from blazeio_supervisor.worker.prometheus_bridge import (
    PrometheusBridge,
    find_bridge,
    install_bridge,
)


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> PrometheusBridge:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)  # put back later
    assert find_bridge() is None
    install_bridge()
    found = find_bridge()
    assert found is not None
    return found


@pytest.fixture
def row() -> Iterator[Row]:
    made = Row(make_row_memory())
    yield made
    made.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def read(row: Row) -> dict[str, dict[tuple[str, ...], list[float]]]:
    totals = AppTotals()
    row.add_app_to(totals, 1, 0)
    assert not row.fault
    return {name: total.series for name, total in totals.families.items()}


def test_each_kind_is_shared(
    bridge: PrometheusBridge, row: Row, registry: CollectorRegistry
) -> None:
    counter = Counter("orders", "Orders.", ["kind"], registry=registry)
    gauge = Gauge("depth", "Depth.", registry=registry)
    sizes = Histogram("sizes", "Sizes.", buckets=(1, 2), registry=registry)
    spans = Summary("spans", "Spans.", registry=registry)
    counter.labels("import").inc()
    gauge.set(5)
    bridge.move(RowCells(row.app))
    counter.labels("book").inc(3)
    counter.labels("book").inc()
    gauge.dec()
    for value in (0.5, 1.5, 9):
        sizes.observe(value)
        spans.observe(value)
    assert read(row) == {
        "orders": {("import",): [0.0], ("book",): [4.0]},
        "depth": {("0",): [4.0]},
        "sizes": {(): [11.0, 1, 1, 1]},
        "spans": {(): [11.0, 3]},
    }


def test_the_app_reads_back_its_own(
    bridge: PrometheusBridge, row: Row, registry: CollectorRegistry
) -> None:
    bridge.move(RowCells(row.app))
    sizes = Histogram("sizes", "Sizes.", ["a"], buckets=(1, 2), registry=registry)
    sizes.labels("x").observe(1.5)
    text = generate_latest(registry).decode()
    assert 'sizes_bucket{a="x",le="1.0"} 0.0' in text
    assert 'sizes_bucket{a="x",le="2.0"} 1.0' in text
    assert 'sizes_sum{a="x"} 1.5' in text


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("all", (), ("0",)),
        ("liveall", (), ("0",)),
        ("sum", (), ()),
        ("livesum", (), ()),
        ("max", (), ()),
        ("mostrecent", (), ()),
    ],
)
def test_gauges_keep_their_mode(
    bridge: PrometheusBridge,
    row: Row,
    registry: CollectorRegistry,
    mode: str,
    values: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    gauge = Gauge("depth", "D.", registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]
    gauge.set(2)
    bridge.move(RowCells(row.app))
    gauge.set(3)
    (found,) = read(row)["depth"].items()
    assert (found[0], found[1][0]) == (expected, 3.0)


def test_a_series_that_was_removed_comes_again_in_its_cells(
    bridge: PrometheusBridge, row: Row, registry: CollectorRegistry
) -> None:
    bridge.move(RowCells(row.app))
    orders = Counter("orders", "Orders.", ["kind"], registry=registry)
    sizes = Histogram("sizes", "Sizes.", ["kind"], buckets=(1,), registry=registry)
    for _ in range(3):
        orders.labels("a").inc()
        sizes.labels("a").observe(2)
        orders.remove("a")
        sizes.clear()
    assert read(row) == {
        "orders": {("a",): [3.0]},
        "sizes": {("a",): [6.0, 0, 3]},
    }


def test_what_cannot_be_shared_stays_and_is_logged_once(
    bridge: PrometheusBridge,
    row: Row,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bridge.move(RowCells(row.app))
    long = Counter("long", "L.", ["kind"], registry=registry)
    long.labels("x" * 201).inc()
    long.labels("y" * 201).inc(2)
    long.labels("z").inc()
    Counter("other", "L.", ["a"], registry=registry).labels("a").inc()
    second = Counter("other", "L.", ["b"], registry=CollectorRegistry())
    second.labels("b").inc()
    assert long.labels("x" * 201)._value.get() == second.labels("b")._value.get() == 1
    assert read(row) == {"long": {("z",): [1.0]}, "other": {("a",): [1.0]}}
    assert len(caplog.records) == 1


def test_a_child_of_the_worker_counts_for_itself(
    bridge: PrometheusBridge, row: Row, registry: CollectorRegistry
) -> None:
    orders = Counter("orders", "Orders.", registry=registry)
    bridge.move(RowCells(row.app))
    orders.inc(5)
    bridge.leave()
    orders.inc(100)
    assert orders._value.get() == 105
    assert read(row) == {"orders": {(): [5.0]}}


def test_series_of_several_threads_are_each_whole(
    bridge: PrometheusBridge, row: Row, registry: CollectorRegistry
) -> None:
    sizes = Histogram("sizes", "Sizes.", ["n"], buckets=(1,), registry=registry)
    bridge.move(RowCells(row.app))

    def work(name: str) -> None:
        for number in range(50):
            sizes.labels(f"{name}{number}").observe(2)

    threads = [threading.Thread(target=work, args=(n,)) for n in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    series = read(row)["sizes"]
    assert len(series) == 200
    assert set(map(tuple, series.values())) == {(2.0, 0, 1)}
