"""What is measured, as metric families: from what the master knows to figures.

Of the whole service what would be many lines (histograms), by slot what tells
one worker from another. Counters only grow: whatever a dead worker counted
stays with its slot.
"""

import platform
import time
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from blazeio_supervisor.control.status import Service
from blazeio_supervisor.fleet.snapshot import Snapshot
from blazeio_supervisor.observe.tally import STATUS_CLASSES, Histogram, Tally
from blazeio_supervisor.version import find_version

RESULTS = {
    "reload_ok": "ok",
    "reload_failed": "failed",
    "reload_superseded": "superseded",
}
"""By the event of each ask."""

FAULTS = ("turn_failed", "planner_failed", "action_failed")
"""Each is an event, too; they are not to be."""

REASONS = ("late", "blocked", "misbehaved", "asked", "requests", "lifetime", "memory")
"""Why workers are replaced; beside these their exits, as they come to happen."""


def list_families(service: Service) -> Iterator[Metric]:
    """Give everything that is measured, as it is now."""
    snapshot = service.planner.snapshot()
    tallies = service.readings.read_tallies()
    yield from _describe(service, snapshot)
    yield from _list_requests(sum(tallies.values(), Tally()))
    yield from _list_changes(service.events.counts)
    yield from _list_slots(service, snapshot, tallies)
    yield from _list_workers(service, snapshot)


def _describe(service: Service, snapshot: Snapshot) -> Iterator[Metric]:
    settings = service.settings
    yield InfoMetricFamily(
        "blazeio",
        "The service and what it runs on.",
        {
            "version": find_version(),
            "python": platform.python_version(),
            "loop": settings.loop,
            "app": settings.app.text,
            "instance_name": service.name,
        },
    )
    started_at = time.time() - (time.monotonic() - service.started_at)
    for name, text, value in (
        (
            "start_time_seconds",
            "When the master began, Unix time.",
            started_at,
        ),
        ("generation", "Of the code that new workers run.", snapshot.generation),
        ("ready", "1: a balancer should send connections.", snapshot.is_ready),
        ("workers_wanted", "How many slots shall serve.", snapshot.wanted_count),
        ("workers_serving", "How many slots serve.", snapshot.serving_count),
    ):
        yield GaugeMetricFamily(f"blazeio_{name}", text, round(value))


def _list_requests(tally: Tally) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "blazeio_requests",
        "Requests that are over, by status class; none: the client was gone before "
        "an answer began.",
        labels=["status"],
    )
    duration = HistogramMetricFamily(
        "blazeio_request_duration_seconds",
        "From the head of a request to the end of its response.",
        labels=["status"],
    )
    for status in STATUS_CLASSES:
        latency = tally.latency(status)
        requests.add_metric([status], latency.count)
        duration.add_metric([status], _accumulate(latency), latency.total_s)
    yield requests
    yield duration
    yield CounterMetricFamily(
        "blazeio_request_content_bytes",
        "Octets of content received; heads and framing not counted.",
        tally.request_bytes,
    )
    yield CounterMetricFamily(
        "blazeio_response_content_bytes",
        "Octets of content sent; heads and framing not counted.",
        tally.response_bytes,
    )
    yield HistogramMetricFamily(
        "blazeio_loop_lag_seconds",
        "How late the event loops ran, looked at 20 times a second in each worker.",
        _accumulate(tally.lag),
        tally.lag.total_s,
    )


def _accumulate(histogram: Histogram) -> list[tuple[str, float]]:
    """Give the buckets as Prometheus has them: each holds all below it, too."""
    ends = [*map(str, histogram.bounds_s[:-1]), "+Inf"]
    return list(zip(ends, accumulate(histogram.counts), strict=True))


def _list_changes(counts: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    respawns = CounterMetricFamily(
        "blazeio_respawns",
        "Workers that died, or were to be replaced though they serve well, by reason.",
        labels=["reason"],
    )
    by_reason = dict.fromkeys(REASONS, 0)
    for (event, reason), count in counts.items():
        if event in ("worker_failed", "recycling"):
            by_reason[reason] = by_reason.get(reason, 0) + count
    for reason, count in by_reason.items():
        respawns.add_metric([reason], count)
    yield respawns
    reloads = CounterMetricFamily(
        "blazeio_reloads", "Orders to reload that are over.", labels=["result"]
    )
    for event, result in RESULTS.items():
        reloads.add_metric([result], counts.get((event, ""), 0))
    yield reloads
    faults = CounterMetricFamily(
        "blazeio_faults",
        "Turns of the supervisor that failed, by a fault of its own.",
        labels=["event"],
    )
    for event in FAULTS:
        faults.add_metric([event], counts.get((event, ""), 0))
    yield faults
    yield CounterMetricFamily(
        "blazeio_adoptions",
        "Times that a worker began to take the queue of a slot that did not serve.",
        counts.get(("adopted", ""), 0),
    )


def _list_slots(
    service: Service, snapshot: Snapshot, tallies: Mapping[int, Tally]
) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "blazeio_slot_requests", "Requests begun.", labels=["slot"]
    )
    length = GaugeMetricFamily(
        "blazeio_accept_queue_length",
        "Connections that wait to be accepted; of TCP addresses.",
        labels=["slot"],
    )
    limit = GaugeMetricFamily(
        "blazeio_accept_queue_limit",
        "When so many wait, new ones are turned away.",
        labels=["slot"],
    )
    for slot in snapshot.slots:
        labels = [str(slot.index)]
        requests.add_metric(labels, tallies.get(slot.index, Tally()).requests)
        queue = service.listeners.queue_of(slot.index)
        if queue is not None:
            length.add_metric(labels, queue.length)
            limit.add_metric(labels, queue.limit)
    yield requests
    yield length
    yield limit


def _list_workers(service: Service, snapshot: Snapshot) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily(
        "blazeio_requests_in_flight", "Requests being served.", labels=["slot"]
    )
    connections = GaugeMetricFamily(
        "blazeio_connections", "Open connections.", labels=["slot"]
    )
    memory = GaugeMetricFamily(
        "blazeio_memory_bytes",
        "rss: resident; pss: with its share of what several have; uss: what the end "
        "of the workers would give back.",
        labels=["slot", "kind"],
    )
    for slot in range(len(snapshot.slots)):
        workers = [each.worker for each in snapshot.workers if each.slot == slot]
        rows = [row for w in workers if (row := service.readings.read_row(w))]
        in_flight.add_metric([str(slot)], sum(row.in_flight for row in rows))
        connections.add_metric([str(slot)], sum(row.connections for row in rows))
        sizes = [m for w in workers if (m := service.readings.recall_memory(w))]
        for kind, values in (
            ("rss", [each.resident_bytes for each in sizes]),
            ("pss", [each.shared_bytes for each in sizes]),
            ("uss", [each.own_bytes for each in sizes]),
        ):
            if values:
                memory.add_metric([str(slot), kind], sum(values))
    yield in_flight
    yield connections
    yield memory
