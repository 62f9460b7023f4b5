"""``web.metrics`` in one process: declared, counted, read."""

import math
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from blazeio.app.app import App
from blazeio.app.metric_series import (
    BOUND_COUNT,
    CELL_COUNT,
    HELP_CHARS,
    LABEL_COUNT,
    NAME_CHARS,
    VALUE_CHARS,
    LocalCells,
)
from blazeio.errors import ConfigurationError


@pytest.fixture
def web() -> App[Any]:
    return App()


def read(web: App[Any]) -> dict[str, float]:
    """Each sample of the text by its name and labels."""
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(web.metrics.text().decode())
        for sample in family.samples
    }


def test_a_counter_grows_by_what_is_added(web: App[Any]) -> None:
    orders = web.metrics.counter("orders_total", "Orders.")
    orders.inc()
    orders.inc(2.5)
    assert orders.value == 3.5
    assert read(web) == {"orders_total": 3.5}


@pytest.mark.parametrize("amount", [-1, -5e-324, math.nan])
def test_a_counter_never_falls(web: App[Any], amount: float) -> None:
    orders = web.metrics.counter("orders")
    with pytest.raises(ValueError, match="only grows"):
        orders.inc(amount)
    assert orders.value == 0


def test_a_gauge_goes_up_and_down(web: App[Any]) -> None:
    depth = web.metrics.gauge("depth")
    depth.set(7)
    depth.inc()
    depth.dec(10)
    assert (depth.value, read(web)) == (-2.0, {"depth": -2.0})


def test_a_gauge_of_which_the_latest_counts_goes_up_and_down_too(
    web: App[Any],
) -> None:
    depth = web.metrics.gauge("depth", combine="latest")
    depth.set(7)
    depth.inc()
    depth.dec(10)
    assert (depth.value, read(web)) == (-2.0, {"depth": -2.0})


def test_a_histogram_counts_by_inclusive_upper_ends(web: App[Any]) -> None:
    sizes = web.metrics.histogram("sizes", buckets=(1, 10, math.inf))
    for value in (0.5, 1, 1.5, 10, 11):
        sizes.observe(value)
    assert (sizes.count, sizes.total) == (5, 24)
    assert read(web) == {
        "sizes_bucket le=1.0": 2,
        "sizes_bucket le=10.0": 4,
        "sizes_bucket le=+Inf": 5,
        "sizes_count": 5,
        "sizes_sum": 24,
    }
    with pytest.raises(ValueError, match="nan"):
        sizes.observe(math.nan)


def test_each_set_of_label_values_is_a_series(web: App[Any]) -> None:
    orders = web.metrics.counter("orders", labels=("kind", "code"))
    orders.labels("book", 200).inc()
    orders.labels(code="200", kind="book").inc()
    orders.labels("pen", 404).inc()
    assert orders.labels("book", "200") is orders.labels("book", 200)
    assert read(web) == {
        "orders_total code=200 kind=book": 2,
        "orders_total code=404 kind=pen": 1,
    }


def test_declared_values_are_shown_from_the_start(web: App[Any]) -> None:
    declared = {"kind": ("book", "pen"), "paid": ("no", "yes")}
    orders = web.metrics.counter("orders", labels=declared, series_count=1)
    assert set(read(web).values()) == {0.0}
    assert len(read(web)) == 4
    with pytest.raises(ConfigurationError, match=r"kind='ink' was not declared"):
        orders.labels("ink", "no")


def test_more_series_than_the_bound_are_refused_with_the_way_out(
    web: App[Any],
) -> None:
    orders = web.metrics.counter("orders", labels=("kind",), series_count=2)
    orders.labels("a").inc()
    orders.labels("b").inc()
    with pytest.raises(ConfigurationError, match=r"'orders'.*2 sets.*series_count="):
        orders.labels("c")
    orders.labels("a").inc()
    assert len(read(web)) == 2


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), (("a", "b"), {}), ((), {"other": "a"}), (("a",), {"kind": "a"})],
)
def test_labels_that_do_not_fit_are_named(
    web: App[Any], values: tuple[str, ...], named: dict[str, str]
) -> None:
    orders = web.metrics.counter("orders", labels=("kind",))
    with pytest.raises(ConfigurationError, match="its labels are kind, not"):
        orders.labels(*values, **named)


def test_a_label_value_has_a_longest_length(web: App[Any]) -> None:
    orders = web.metrics.counter("orders", labels=("kind",))
    orders.labels("x" * VALUE_CHARS).inc()
    with pytest.raises(ConfigurationError, match="longer than 200 characters"):
        orders.labels("x" * (VALUE_CHARS + 1))


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("counter", {"name": "no name"}, "letters, digits and underscores"),
    ("counter", {"name": ""}, "letters, digits and underscores"),
    ("counter", {"name": "x" * (NAME_CHARS + 1)}, "letters, digits and underscores"),
    ("counter", {"name": 5}, "letters, digits and underscores"),
    ("gauge", {"name": "blazeio_x"}, "are the supervisor's"),
    ("gauge", {"name": "x", "meaning": "x" * (HELP_CHARS + 1)}, "its help is longer"),
    ("gauge", {"name": "x", "labels": "kind"}, "a list of names is expected"),
    ("gauge", {"name": "x", "labels": ("a b",)}, r"label \['a b'\]"),
    ("gauge", {"name": "x", "labels": ("__a",)}, r"label \['__a'\]"),
    ("counter", {"name": "x", "labels": ("le",)}, r"labels \['le'\] are taken"),
    (
        "gauge",
        {"name": "x", "labels": ("slot",), "combine": "slot"},
        r"labels \['slot'\] are taken",
    ),
    (
        "counter",
        {"name": "x", "labels": [f"l{n}" for n in range(LABEL_COUNT + 1)]},
        "more than 10 labels",
    ),
    ("histogram", {"name": "x", "buckets": ()}, "it has no buckets"),
    ("histogram", {"name": "x", "buckets": (2, 1)}, "its buckets must rise"),
    ("histogram", {"name": "x", "buckets": (1, 1)}, "its buckets must rise"),
    ("histogram", {"name": "x", "buckets": (math.nan,)}, "its buckets must rise"),
    (
        "histogram",
        {"name": "x", "buckets": range(BOUND_COUNT + 1)},
        "more than 60 buckets",
    ),
]


@pytest.mark.parametrize(("kind", "arguments", "text"), WRONG)
def test_what_cannot_be_declared_is_said(
    web: App[Any], kind: str, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        getattr(web.metrics, kind)(**arguments)
    assert web.metrics.text() == b""


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "a"), ("a_total", "a"), ("a", "a_total")],
)
def test_a_name_is_declared_once(web: App[Any], first: str, second: str) -> None:
    web.metrics.counter(first)
    with pytest.raises(ConfigurationError, match="metric 'a"):
        web.metrics.counter(second)


def test_names_of_a_histogram_are_taken_too(web: App[Any]) -> None:
    web.metrics.histogram("a")
    with pytest.raises(ConfigurationError, match="metric 'a_count': is 'a'"):
        web.metrics.gauge("a_count")


async def test_it_is_too_late_once_the_app_is_served(web: App[Any]) -> None:
    @web.on_start
    def declare() -> None:
        web.metrics.counter("in_time")

    await web.init()
    with pytest.raises(ConfigurationError, match="declare it at import"):
        web.metrics.counter("late")
    await web.stop_hooks()
    web.metrics.counter("next_time")


def test_metrics_of_a_mounted_app_are_the_outer_ones(web: App[Any]) -> None:
    inner, innermost = App[Any](), App[Any]()
    before = inner.metrics.counter("before")
    inner.mount("/c", innermost)
    web.mount("/b", inner)
    before.inc()
    innermost.metrics.counter("after").inc(2)
    assert read(web) == {"before_total": 1, "after_total": 2}


def test_two_apps_of_one_name_cannot_be_mounted(web: App[Any]) -> None:
    inner = App[Any]()
    inner.metrics.counter("a")
    web.metrics.counter("a")
    with pytest.raises(ConfigurationError, match="declared twice"):
        web.mount("/b", inner)


def test_there_is_room_for_so_many_cells(web: App[Any]) -> None:
    many = web.metrics.counter("m", labels=("n",), series_count=10**6)
    for number in range(CELL_COUNT):
        many.labels(number).inc()
    with pytest.raises(ConfigurationError, match=r"more than 16,384 cells"):
        many.labels(CELL_COUNT)
    with pytest.raises(ConfigurationError, match=r"metric 'one'.*16,384 cells"):
        web.metrics.gauge("one")


def test_other_cells_begin_anew_but_for_gauges(web: App[Any]) -> None:
    orders = web.metrics.counter("orders")
    depth = web.metrics.gauge("depth")
    last = web.metrics.gauge("last", combine="latest")
    sizes = web.metrics.histogram("sizes")
    orders.inc()
    depth.set(3)
    last.set(4)
    sizes.observe(1)
    web.metrics.table.move(LocalCells())
    assert (orders.value, depth.value, last.value) == (0, 3, 4)
    assert (sizes.count, sizes.total) == (0, 0)
    orders.inc()
    sizes.observe(1)
    assert (orders.value, sizes.count, sizes.total) == (1, 1, 1)


@pytest.fixture
def _hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty_threads")
def test_no_count_of_any_thread_is_lost(web: App[Any]) -> None:
    orders = web.metrics.counter("orders", labels=("kind",))
    depth, sizes = web.metrics.gauge("depth"), web.metrics.histogram("sizes")
    each = 5_000

    def work() -> None:
        for _ in range(each):
            orders.labels("a").inc()
            depth.inc()
            sizes.observe(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = 4 * each
    assert orders.labels("a").value == depth.value == sizes.count == total
    assert sizes.total == total
