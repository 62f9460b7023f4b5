"""What a metric of an app is: how it is declared, and its cells.

A series is one set of label values of a metric. Its values are floats in cells,
wherever these lie.
"""

import math
import re
from array import array
from bisect import bisect_left
from itertools import pairwise
from time import time
from typing import Any, Literal, Protocol

from msgspec import Struct

from blazeio.errors import ConfigurationError

Kind = Literal["counter", "gauge", "histogram", "summary"]
Combine = Literal["sum", "max", "min", "latest", "slot"]
"""How the gauges of several workers are one: added, the highest, the lowest, the one
that was set last, or each with a label ``slot``."""

CELL_COUNT = 16_384
"""Cells of one process: a counter takes 1, a histogram 2 more than it has bounds."""
SERIES_COUNT = 100
"""Sets of label values of one metric, unless ``series_count`` says another number."""
LABEL_COUNT = 10
"""Labels of one metric."""
VALUE_CHARS = 200
"""The longest label value."""
HELP_CHARS = 500
"""The longest help text."""
NAME_CHARS = 120
"""The longest name of a metric or label."""
BOUND_COUNT = 60
"""Bounds of one histogram."""
DEFAULT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Made for spans in seconds."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_ENDINGS: dict[Kind, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count", "_created", ""),
    "summary": ("_sum", "_count", "_created", ""),
}


class MetricFamily(Struct, frozen=True):
    """One metric, as it is declared.

    Attributes:
        name: Of a counter without ``_total``.
        help: What it counts, for people.
        label_names: In the order of each set of label values.
        bounds: Of a histogram: the inclusive upper end of each bucket, without +Inf.
        combine: Of a gauge.
    """

    name: str
    kind: Kind
    help: str = ""
    label_names: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    combine: Combine = "sum"

    @property
    def cell_count(self) -> int:
        """The cells of one series.

        Of a histogram: the sum, then the count of each bucket. Of a summary: the sum
        and the count. Of a gauge whose latest value counts: the value, and when it
        was set.
        """
        if self.kind == "histogram":
            return len(self.bounds) + 2
        return 2 if self.kind == "summary" or self.combine == "latest" else 1

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names that no other metric may have."""
        return tuple(self.name + ending for ending in _ENDINGS[self.kind])


class CellStore(Protocol):
    """Where the cells of a process lie."""

    @property
    def cells(self) -> Any:
        """All cells, a sequence of floats."""

    def add(self, family: MetricFamily, values: tuple[str, ...]) -> int:
        """Take cells for one more series; return the place of the first one.

        Raises:
            ConfigurationError: There is no room for it.
        """


class LocalCells:
    """Cells in the memory of this process alone.

    Attributes:
        cells: All of them.
    """

    def __init__(self) -> None:
        self.cells = memoryview(array("d"))
        self._used = 0

    def add(self, family: MetricFamily, values: tuple[str, ...]) -> int:
        """Take cells for one more series: see ``CellStore.add``."""
        if not self.cells:  # most apps have no metric
            self.cells = memoryview(array("d", bytes(8 * CELL_COUNT)))
        first, self._used = self._used, self._used + family.cell_count
        if self._used > CELL_COUNT:
            self._used = first
            raise ConfigurationError(describe_full(family.name, CELL_COUNT))
        return first


def describe_full(name: str, cell_count: int) -> str:
    """Say that there is no room for a series of this metric."""
    return (
        f"metric {name!r}: all series together need more than {cell_count:,} cells "
        "(a counter takes 1, a histogram 2 more than it has buckets)"
    )


# One series each. What adds to a cell makes no call between its reading and its
# writing, and the threads of CPython change only at calls and jumps back: so no
# count of another thread is lost (tests/app/test_metrics.py tries it).


class Series:
    """A set of label values, and its cells."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Any, at: int) -> None:
        self._cells = cells
        self._at = at

    def move(self, cells: Any, at: int) -> None:
        """Go on in other cells, which are 0 by now."""
        self._cells, self._at = cells, at

    def read(self, count: int) -> list[float]:
        """Read so many cells."""
        return list(self._cells[self._at : self._at + count])


class Counter(Series):
    """Only grows: ``orders.inc()``."""

    __slots__ = ("_value",)

    def __init__(self, cells: Any, at: int) -> None:
        super().__init__(cells, at)
        self._value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount.

        Raises:
            ValueError: The amount is negative, or no number.
        """
        # Hot: some apps count several things per request; see
        # tests/bench/app_metrics.py. To add to the cell itself costs 1.3x of this.
        if not amount >= 0.0:
            message = f"a counter only grows: inc({amount!r})"
            raise ValueError(message)
        self._value = self._cells[self._at] = self._value + amount

    @property
    def value(self) -> float:
        """What this process has counted since it serves."""
        return self._value

    def move(self, cells: Any, at: int) -> None:
        """Go on in other cells, from 0."""
        self._value = 0.0
        super().move(cells, at)


class Gauge(Series):
    """Goes up and down: ``depth.set(3)``."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set the value."""
        self._cells[self._at] = value

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount."""
        self._cells[self._at] += amount

    def dec(self, amount: float = 1.0) -> None:
        """Take an amount away."""
        self._cells[self._at] -= amount

    @property
    def value(self) -> float:
        """The value in this process."""
        return float(self._cells[self._at])

    def move(self, cells: Any, at: int) -> None:
        """Go on in other cells, with the value: an import may have set it."""
        cells[at] = self._cells[self._at]
        super().move(cells, at)


class LatestGauge(Gauge):
    """A gauge of which the value that was set last counts, of all workers."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set the value, and when that was."""
        self._cells[self._at] = value
        self._cells[self._at + 1] = time()

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount."""
        self.set(self.value + amount)

    def dec(self, amount: float = 1.0) -> None:
        """Take an amount away."""
        self.set(self.value - amount)

    def move(self, cells: Any, at: int) -> None:
        """Go on in other cells, with the value."""
        cells[at + 1] = self._cells[self._at + 1]
        super().move(cells, at)


class BucketCounter(Series):
    """A histogram: ``latency.observe(0.02)``."""

    __slots__ = ("_bounds", "_first", "_total")

    def __init__(self, cells: Any, at: int, bounds: tuple[float, ...]) -> None:
        super().__init__(cells, at)
        self._bounds = bounds
        self._first = at + 1
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count a value in its bucket.

        Raises:
            ValueError: It is no number.
        """
        # NaN is less than no bound and greater than none: it would be counted in the
        # first bucket, and the sum would be NaN for ever.
        if value != value:
            message = "observe(nan): it belongs to no bucket"
            raise ValueError(message)
        # ``bisect_left``: a value that equals a bound belongs to its bucket, since
        # ``le`` of Prometheus means "less or equal".
        place = self._first + bisect_left(self._bounds, value)
        cells = self._cells
        cells[place] += 1.0
        self._total = cells[self._at] = self._total + value

    @property
    def count(self) -> int:
        """How many values this process has seen since it serves."""
        return int(sum(self._cells[self._first : self._first + len(self._bounds) + 1]))

    @property
    def total(self) -> float:
        """Their sum."""
        return self._total

    def move(self, cells: Any, at: int) -> None:
        """Go on in other cells, from 0."""
        super().move(cells, at)
        self._first = at + 1
        self._total = 0.0


def make_series(family: MetricFamily, cells: Any, at: int) -> Series:
    """Make a series of a family, whose cells begin there."""
    if family.kind == "counter":
        return Counter(cells, at)
    if family.kind == "histogram":
        return BucketCounter(cells, at, family.bounds)
    is_latest = family.combine == "latest"
    return LatestGauge(cells, at) if is_latest else Gauge(cells, at)


def check_family(family: MetricFamily) -> None:
    """Check all that a declaration says.

    Raises:
        ConfigurationError: A part of it is not possible; says which.
    """
    name, labels = family.name, family.label_names
    shown = f"metric {name!r:.80}"
    # ``le`` and ``quantile`` are the labels by which the text format tells buckets and
    # quantiles apart; ``slot`` is added by the supervisor.
    reserved = {"le", "quantile", "slot" if family.combine == "slot" else "le"}
    reserved &= set(labels)
    wrong = [each for each in labels if not _is_name(each, _LABEL)]
    bounds = family.bounds
    for is_wrong, text in (
        (not _is_name(name, _NAME), "letters, digits and underscores are a name"),
        (str(name).startswith("blazeio_"), "names with blazeio_ are the supervisor's"),
        (len(family.help) > HELP_CHARS, f"its help is longer than {HELP_CHARS}"),
        (len(labels) > LABEL_COUNT, f"it has more than {LABEL_COUNT} labels"),
        (bool(wrong), f"label {wrong[:1]}: letters, digits and underscores"),
        (bool(reserved), f"labels {sorted(reserved)} are taken"),
        (len(bounds) > BOUND_COUNT, f"it has more than {BOUND_COUNT} buckets"),
        (family.kind == "histogram" and not bounds, "it has no buckets"),
        (
            any(not a < b for a, b in pairwise(bounds))
            or not all(map(math.isfinite, bounds)),
            "its buckets must rise, and be finite",
        ),
    ):
        if is_wrong:
            raise ConfigurationError(f"{shown}: {text}")


def _is_name(text: object, pattern: "re.Pattern[str]") -> bool:
    return (
        isinstance(text, str)
        and len(text) <= NAME_CHARS
        and pattern.fullmatch(text) is not None
    )
