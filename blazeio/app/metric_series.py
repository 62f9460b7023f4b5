"""What a metric of an app is: how it is declared, its cells, and the text of a scrape.

A series is one set of label values of a metric. Its values are floats in cells,
wherever these lie.

The text is that of Prometheus. It is written here: ``prometheus_client`` takes 4 MB and
20 ms of each master to import, and to import it at the first scrape would be too late,
since what is installed may have changed by then. Its parser is what the tests read the
text back with.
"""

import math
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from time import time
from typing import Any, Literal, Protocol

from msgspec import Struct, field

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


# The text that Prometheus reads


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

ExposedKind = Literal["counter", "gauge", "histogram", "info", "summary"]

_BACKSLASH = str.maketrans({"\\": r"\\", "\n": r"\n"})
_QUOTED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_ENDING = {"counter": "_total", "info": "_info"}
"""What the names of samples, and so of their family in the text, end with."""


class Sample(Struct):
    """One line.

    Attributes:
        name: That of the family, and what the sample is of it.
        labels: By name.
        value: Of now.
    """

    name: str
    labels: dict[str, str]
    value: float


class ExposedFamily(Struct):
    """What is counted, and how much.

    Attributes:
        name: Without ``_total``.
        label_names: Of each sample, in the order in which values are given.
    """

    kind: ExposedKind
    name: str
    help: str
    label_names: tuple[str, ...] = ()
    samples: list[Sample] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        """As the text names it."""
        return self.name + _ENDING.get(self.kind, "")

    def add(self, values: Sequence[str], value: float) -> None:
        """Add the sample of these label values."""
        self._add(_ENDING.get(self.kind, ""), values, value)

    def add_histogram(
        self,
        values: Sequence[str],
        buckets: Iterable[tuple[str, float]],
        total: float,
    ) -> None:
        """Add the samples of a histogram.

        Args:
            values: Of the labels.
            buckets: The upper ends, the last one ``+Inf``, and how many are below.
            total: The sum of what was observed.
        """
        count = 0.0
        for end, count in buckets:
            self._add("_bucket", values, count, {"le": end})
        self.add_summary(values, count, total)

    def add_summary(self, values: Sequence[str], count: float, total: float) -> None:
        """Add how many were observed, and their sum."""
        self._add("_count", values, count)
        self._add("_sum", values, total)

    def _add(
        self,
        ending: str,
        values: Sequence[str],
        value: float,
        more: Mapping[str, str] = {},
    ) -> None:
        labels = dict(zip(self.label_names, values, strict=True))
        self.samples.append(Sample(self.name + ending, {**labels, **more}, value))


def counter(
    name: str, text: str, value: float | None = None, labels: Sequence[str] = ()
) -> ExposedFamily:
    """Return a family of what only grows, with one sample if ``value`` is given."""
    return _start("counter", name, text, value, labels)


def gauge(
    name: str, text: str, value: float | None = None, labels: Sequence[str] = ()
) -> ExposedFamily:
    """Return a family of what grows and shrinks."""
    return _start("gauge", name, text, value, labels)


def _start(
    kind: ExposedKind, name: str, text: str, value: float | None, labels: Sequence[str]
) -> ExposedFamily:
    family = ExposedFamily(kind, name, text, tuple(labels))
    if value is not None:
        family.add((), value)
    return family


def histogram(name: str, text: str, labels: Sequence[str] = ()) -> ExposedFamily:
    """Return a family of spans or sizes, counted by buckets."""
    return ExposedFamily("histogram", name, text, tuple(labels))


def info(name: str, text: str, values: Mapping[str, str]) -> ExposedFamily:
    """Return a family whose one sample says something by its labels."""
    family = ExposedFamily("info", name, text, tuple(values))
    family.add(tuple(values.values()), 1)
    return family


def make_family(
    family: MetricFamily, series: Mapping[tuple[str, ...], list[float]]
) -> ExposedFamily:
    """Return a family with its samples.

    Args:
        family: As it was declared. Where gauges of several workers stand side by
            side, its last label is ``slot``.
        series: By label values, the cells of each.
    """
    made = ExposedFamily(family.kind, family.name, family.help, family.label_names)
    ends = [*map(str, family.bounds), "+Inf"]
    for values, cells in series.items():
        if family.kind == "summary":
            made.add_summary(values, int(cells[1]), cells[0])
        elif family.kind == "histogram":
            counts = accumulate(cells[1:])
            made.add_histogram(values, zip(ends, counts, strict=True), cells[0])
        else:
            made.add(values, cells[0])
    return made


def write_families(families: Iterable[ExposedFamily]) -> bytes:
    """Write the text of several families."""
    lines: list[str] = []
    for family in families:
        name = family.full_name
        kind = "gauge" if family.kind == "info" else family.kind
        lines.append(f"# HELP {name} {family.help.translate(_BACKSLASH)}")
        lines.append(f"# TYPE {name} {kind}")
        lines += map(_write_sample, family.samples)
    return "".join(f"{line}\n" for line in lines).encode()


def _write_sample(sample: Sample) -> str:
    labels = ",".join(
        f'{name}="{value.translate(_QUOTED)}"'
        for name, value in sorted(sample.labels.items())
    )
    value = repr(float(sample.value))
    value = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(value, value)
    return f"{sample.name}{{{labels}}} {value}" if labels else f"{sample.name} {value}"
