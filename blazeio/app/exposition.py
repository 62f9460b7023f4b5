"""Metrics as Prometheus reads them, in its text format.

Written here: ``prometheus_client`` takes 4 MB and 20 ms of each master to import, and
to import it at the first scrape would be too late, since what is installed may have
changed by then. Its parser is what the tests read the text back with.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal

from msgspec import Struct, field

from blazeio.app.metric_series import MetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram", "info", "summary"]

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

    kind: Kind
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
    kind: Kind, name: str, text: str, value: float | None, labels: Sequence[str]
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
