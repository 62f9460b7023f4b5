"""The metrics of an app as Prometheus reads them, by ``prometheus_client``.

Only its families and its text are used, none of its registries.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from blazeio.app.metric_series import MetricFamily


def make_family(
    family: MetricFamily, series: Mapping[tuple[str, ...], list[float]]
) -> Metric:
    """Return a family with its samples.

    Args:
        family: As it was declared. Where gauges of several workers stand side by
            side, its last label is ``slot``.
        series: By label values, the cells of each.
    """
    labels = family.label_names
    if family.kind == "counter":
        counter = CounterMetricFamily(family.name, family.help, labels=labels)
        for values, cells in series.items():
            counter.add_metric(values, cells[0])
        return counter
    if family.kind == "gauge":
        gauge = GaugeMetricFamily(family.name, family.help, labels=labels)
        for values, cells in series.items():
            gauge.add_metric(values, cells[0])
        return gauge
    if family.kind == "summary":
        summary = SummaryMetricFamily(family.name, family.help, labels=labels)
        for values, cells in series.items():
            summary.add_metric(values, int(cells[1]), cells[0])
        return summary
    histogram = HistogramMetricFamily(family.name, family.help, labels=labels)
    ends = [*map(str, family.bounds), "+Inf"]
    for values, cells in series.items():
        counts = accumulate(cells[1:])
        histogram.add_metric(values, list(zip(ends, counts, strict=True)), cells[0])
    return histogram


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def write_families(families: Iterable[Metric]) -> bytes:
    """Write the text of several families."""
    return generate_latest(_Families(families))
