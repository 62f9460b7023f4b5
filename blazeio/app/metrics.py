"""``web.metrics``: counters, gauges and histograms that the app itself has.

A metric is declared before the first request and is changed by any thread. Its cells
lie in the memory of this process, until a supervisor puts others in their place that
outlive the process and are added up over all workers. The number of series is bounded
by what is declared, so nothing that a client sends makes it grow.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Generic, TypeVar, overload

from blazeio.app.metric_series import (
    DEFAULT_BOUNDS,
    SERIES_COUNT,
    VALUE_CHARS,
    BucketCounter,
    CellStore,
    Combine,
    Counter,
    Gauge,
    LocalCells,
    MetricFamily,
    Series,
    check_family,
    make_series,
)
from blazeio.errors import ConfigurationError

SeriesT = TypeVar("SeriesT", bound=Series)

Labels = Iterable[str] | Mapping[str, Iterable[str] | None]


class Labelled(Generic[SeriesT]):
    """A metric with labels: ``orders.labels("book").inc()``."""

    def __init__(self, declared: "_Declared") -> None:
        self._declared = declared
        self._series: dict[tuple[Any, ...], SeriesT] = declared.series

    def labels(self, *values: object, **named: object) -> SeriesT:
        """Return the series of these label values, in the order of the labels.

        Args:
            values: Each becomes a text.
            named: The same by name, ``labels(kind="book")``.

        Raises:
            ConfigurationError: The values do not fit the labels, one was not declared,
                or there are as many series as the metric may have.
        """
        # The common way is one lookup. The keys are tuples of str: other values never
        # hit, and are made text on the slow way below.
        if not named:
            found = self._series.get(values)
            if found is not None:
                return found
        made: SeriesT = self._declared.find(values, named)
        return made


class _Declared:
    """A family, its series, and which label values it may have."""

    def __init__(
        self,
        owner: "MetricTable",
        family: MetricFamily,
        allowed: Mapping[str, frozenset[str]],
        series_count: int,
    ) -> None:
        self.family = family
        self.series: dict[tuple[Any, ...], Any] = {}
        self._owner = owner
        self._allowed = allowed
        self._series_count = series_count

    def find(self, values: tuple[object, ...], named: Mapping[str, object]) -> Any:
        """Return a series by its label values; make it if it is not there."""
        key = tuple(str(each) for each in self._order(values, named))
        found = self.series.get(key)
        return self.make(key) if found is None else found

    def _order(
        self, values: tuple[object, ...], named: Mapping[str, object]
    ) -> tuple[object, ...]:
        names = self.family.label_names
        if named and not values and named.keys() == set(names):
            return tuple(named[name] for name in names)
        if named or len(values) != len(names):
            given = [*map(repr, values), *(f"{k}={v!r}" for k, v in named.items())]
            text = f"its labels are {', '.join(names)}, not ({', '.join(given)})"
            raise self._refuse(text)
        return values

    def make(self, key: tuple[str, ...]) -> Any:
        """Make a series.

        Raises:
            ConfigurationError: It was not declared, or there is no room for it.
        """
        for name, value in zip(self.family.label_names, key, strict=True):
            if len(value) > VALUE_CHARS:
                shown = f"{value[:20]}..."
                text = f"{name}={shown!r} is longer than {VALUE_CHARS} characters"
                raise self._refuse(text)
            if value not in self._allowed.get(name, (value,)):
                raise self._refuse(f"{name}={value!r} was not declared")
        if len(self.series) >= self._series_count:
            text = f"it has {len(self.series)} sets of label values by now, as many "
            way_out = "as it may have: say series_count=, or use fewer values"
            raise self._refuse(f"{text}{way_out}")
        store = self._owner.store
        at = store.add(self.family, key)
        made = make_series(self.family, store.cells, at)
        return self.series.setdefault(key, made)  # two threads may have made one

    def _refuse(self, text: str) -> ConfigurationError:
        return ConfigurationError(f"metric {self.family.name!r}: {text}")


class MetricTable:
    """All metrics of one process.

    Attributes:
        store: Where their cells lie.
        is_open: More may be declared.
    """

    def __init__(self) -> None:
        self.store: CellStore = LocalCells()
        self.is_open = True
        self.declared: dict[str, _Declared] = {}

    def add(
        self,
        family: MetricFamily,
        allowed: Mapping[str, frozenset[str]],
        series_count: int,
    ) -> _Declared:
        """Declare a metric, and make the series that are known by now.

        Raises:
            ConfigurationError: It is too late, or there is such a metric already.
        """
        shown = f"metric {family.name!r}"
        if not self.is_open:
            raise ConfigurationError(
                f"{shown}: the app is served by now: declare it at import, or in an "
                "on_start hook"
            )
        declared = _Declared(self, family, allowed, series_count)
        self._check(declared)
        self.declared[family.name] = declared
        names = family.label_names
        if all(name in allowed for name in names):
            for key in product(*(sorted(allowed[name]) for name in names)):
                declared.make(key)
        return declared

    def _check(self, declared: _Declared) -> None:
        name = declared.family.name
        own = set(declared.family.sample_names)
        for other in self.declared.values():
            if own & set(other.family.sample_names):
                other_name = other.family.name
                text = "declared twice" if other_name == name else f"is {other_name!r}"
                raise ConfigurationError(f"metric {name!r}: {text}")

    def move(self, store: CellStore) -> None:
        """Go on in other cells; what was counted before is not carried over.

        Gauges are. A process that has imported the app for several others must not
        have its counts added up once for each of them.

        Raises:
            ConfigurationError: There is no room for them.
        """
        self.store = store
        for declared in self.declared.values():
            family = declared.family
            for key, series in declared.series.items():
                at = store.add(family, key)
                series.move(store.cells, at)

    def check(self, other: "MetricTable") -> None:
        """Check that the metrics of another app can be taken over.

        Raises:
            ConfigurationError: Both have one of the same name.
        """
        for declared in other.declared.values():
            self._check(declared)

    def take_over(self, other: "MetricTable") -> None:
        """Make the metrics of a mounted app metrics of this one.

        Raises:
            ConfigurationError: Both have one of the same name.
        """
        self.check(other)
        for declared in other.declared.values():
            declared._owner = self
            family = declared.family
            self.declared[family.name] = declared
            for key, series in declared.series.items():
                at = self.store.add(family, key)
                series.move(self.store.cells, at)
        other.declared = {}

    def read(self) -> Iterator[tuple[MetricFamily, dict[tuple[str, ...], list[float]]]]:
        """Yield each family with the cells of its series, in this process."""
        for declared in self.declared.values():
            count = declared.family.cell_count
            yield (
                declared.family,
                {key: each.read(count) for key, each in list(declared.series.items())},
            )


class AppMetrics:
    """``web.metrics``: declares the metrics of the app."""

    def __init__(self) -> None:
        self._table = MetricTable()
        self._outer: AppMetrics | None = None

    @property
    def table(self) -> MetricTable:
        """What is declared: of an app that is mounted, with those of the outer one."""
        return self._table if self._outer is None else self._outer.table

    def check(self, inner: "AppMetrics") -> None:
        """Check that the metrics of another app can be metrics of this one.

        Raises:
            ConfigurationError: Both have one of the same name.
        """
        self.table.check(inner.table)

    def include(self, inner: "AppMetrics") -> None:
        """Make the metrics of an app that is mounted metrics of this one.

        Raises:
            ConfigurationError: Both have one of the same name.
        """
        self.table.take_over(inner.table)
        inner._outer = self

    @overload
    def counter(self, name: str, meaning: str = "") -> Counter: ...
    @overload
    def counter(
        self, name: str, meaning: str = "", *, labels: Labels, series_count: int = ...
    ) -> Labelled[Counter]: ...
    def counter(
        self,
        name: str,
        meaning: str = "",
        *,
        labels: Labels = (),
        series_count: int = SERIES_COUNT,
    ) -> Any:
        """Declare a counter, which only grows.

        Args:
            name: Of letters, digits and underscores; it is shown with ``_total``.
            meaning: What it counts, for people.
            labels: The names of the labels. As a mapping, ``{"kind": ("book",
                "pen")}``: only these values may come, and each set of them is shown
                from the start; None stands for any value.
            series_count: Sets of label values that it may have; where all values are
                declared, it has all of them.

        Returns:
            The counter; with labels, what has one for each set of their values.

        Raises:
            ConfigurationError: It cannot be declared; says why.
        """
        name = name.removesuffix("_total") if isinstance(name, str) else name
        return self._add(MetricFamily(name, "counter", meaning), labels, series_count)

    @overload
    def gauge(
        self, name: str, meaning: str = "", *, combine: Combine = ...
    ) -> Gauge: ...
    @overload
    def gauge(
        self,
        name: str,
        meaning: str = "",
        *,
        labels: Labels,
        series_count: int = ...,
        combine: Combine = ...,
    ) -> Labelled[Gauge]: ...
    def gauge(
        self,
        name: str,
        meaning: str = "",
        *,
        labels: Labels = (),
        series_count: int = SERIES_COUNT,
        combine: Combine = "sum",
    ) -> Any:
        """Declare a gauge, which goes up and down. Only workers that live count.

        Args:
            name: As of ``counter``.
            meaning: As of ``counter``.
            labels: As of ``counter``.
            series_count: As of ``counter``.
            combine: How the gauges of several workers are one: ``sum``, ``max``,
                ``min``, ``latest`` (the one that was set last), or ``slot`` (each,
                with a label of that name).

        Raises:
            ConfigurationError: It cannot be declared; says why.
        """
        family = MetricFamily(name, "gauge", meaning, combine=combine)
        return self._add(family, labels, series_count)

    @overload
    def histogram(
        self, name: str, meaning: str = "", *, buckets: Iterable[float] = ...
    ) -> BucketCounter: ...
    @overload
    def histogram(
        self,
        name: str,
        meaning: str = "",
        *,
        buckets: Iterable[float] = ...,
        labels: Labels,
        series_count: int = ...,
    ) -> Labelled[BucketCounter]: ...
    def histogram(
        self,
        name: str,
        meaning: str = "",
        *,
        buckets: Iterable[float] = DEFAULT_BOUNDS,
        labels: Labels = (),
        series_count: int = SERIES_COUNT,
    ) -> Any:
        """Declare a histogram, which counts values by how large they are.

        Args:
            name: As of ``counter``.
            meaning: As of ``counter``.
            buckets: The inclusive upper end of each bucket, rising; one more is for
                all larger values.
            labels: As of ``counter``.
            series_count: As of ``counter``.

        Raises:
            ConfigurationError: It cannot be declared; says why.
        """
        bounds = tuple(float(each) for each in buckets)
        bounds = bounds[:-1] if bounds[-1:] == (math.inf,) else bounds
        family = MetricFamily(name, "histogram", meaning, bounds=bounds)
        return self._add(family, labels, series_count)

    def _add(self, family: MetricFamily, labels: Labels, series_count: int) -> Any:
        if isinstance(labels, str):
            way_out = f"labels={labels!r}: a list of names is expected, [{labels!r}]"
            raise ConfigurationError(f"metric {family.name!r}: {way_out}")
        given = labels if isinstance(labels, Mapping) else dict.fromkeys(labels)
        names = tuple(given)
        allowed = {name: frozenset(values) for name, values in given.items() if values}
        family = MetricFamily(
            *(family.name, family.kind, family.help, names),
            *(family.bounds, family.combine),
        )
        check_family(family)
        if len(allowed) == len(names):
            # All values are declared, so their number is the bound, whatever
            # ``series_count`` says; a gauge without labels has one, the product of
            # nothing.
            series_count = math.prod(map(len, allowed.values()))
        declared = self.table.add(family, allowed, series_count)
        return Labelled(declared) if names else declared.series[()]

    def text(self) -> bytes:
        """Return what this process has counted, as Prometheus reads it.

        Under a supervisor that is one worker of several: ``--metrics-bind`` shows all
        of them.
        """
        from blazeio.app.metric_series import make_family, write_families

        return write_families(make_family(*each) for each in self.table.read())
