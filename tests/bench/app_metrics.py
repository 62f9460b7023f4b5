"""What it costs to count by ``web.metrics``, beside ``prometheus_client``.

    python -m tests.bench.app_metrics

The bar of ``web.metrics`` is 0.3 us for an increment.
"""

import timeit

from prometheus_client import CollectorRegistry
from prometheus_client import Counter as PrometheusCounter

from blazeio.app.app import App
from blazeio_supervisor.ipc.row_tables import RowCells
from blazeio_supervisor.ipc.scoreboard import Row, make_row_memory

NUMBER = 200_000
ROUNDS = 15


def main() -> None:
    """Measure each in turns; the best of its rounds counts."""
    web, row = App[object](), Row(make_row_memory())
    counter = web.metrics.counter("a")
    labelled = web.metrics.counter("b", labels=("kind",))
    gauge, spans = web.metrics.gauge("c"), web.metrics.histogram("d")
    web.metrics.table.move(RowCells(row.app))
    theirs = PrometheusCounter("e", "E.", registry=CollectorRegistry())
    cases = {
        "nothing": lambda: None,
        "counter.inc()": counter.inc,
        "counter.labels(x).inc()": lambda: labelled.labels("x").inc(),
        "gauge.set(1.0)": lambda: gauge.set(1.0),
        "histogram.observe(0.02)": lambda: spans.observe(0.02),
        "prometheus_client: inc()": theirs.inc,
    }
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(ROUNDS):
        for name, case in cases.items():
            span_s = timeit.timeit(case, number=NUMBER)
            best[name] = min(best[name], span_s / NUMBER)
    for name, span_s in best.items():
        print(f"{name:26}{span_s * 1e6:7.3f} us", flush=True)


if __name__ == "__main__":
    main()
