from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from blazeio_supervisor.fleet.actions import Spawn
from blazeio_supervisor.ipc.channel import Sendable
from blazeio_supervisor.ipc.scoreboard import (
    REQUEST_BYTES,
    RESPONSE_BYTES,
    ThreadLoad,
    first_cell,
)
from blazeio_supervisor.master import metrics as module
from blazeio_supervisor.master.metrics import Exposition
from blazeio_supervisor.master.resources import Memory
from blazeio_supervisor.sockets.address import TcpAddress
from tests.supervisor.cli.master_harness import MasterHarness


async def test_the_text_is_what_prometheus_reads(tmp_path: Path) -> None:
    text = Exposition(MasterHarness(tmp_path).service).write().decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"blazeio_requests", "blazeio_info", "blazeio_accept_queue_length"} <= names
    assert all(name.startswith("blazeio") for name in names)


async def test_who_asks_again_at_once_gets_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = MasterHarness(tmp_path)
    exposition = Exposition(harness.service)
    first = exposition.write()
    harness.events.history.counts["adopted", ""] = 7
    assert exposition.write() is first
    monkeypatch.setattr(module, "FRESH_FOR_S", 0.0)
    assert b"blazeio_adoptions_total 7.0" in exposition.write()


# Each figure is what the master knows; read by prometheus-client's own parser.


def close(ends: list[Sendable]) -> None:
    """What a worker would have of them."""
    for end in ends:
        end.close()


class MetricSamples:
    """A text, read back."""

    def __init__(self, harness: MasterHarness) -> None:
        text = Exposition(harness.service).write().decode()
        self._samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def find(self, name: str, **labels: str) -> float:
        """The one sample of this name with at least these labels."""
        (found,) = [
            each.value
            for each in self._samples
            if each.name == f"blazeio_{name}" and labels.items() <= each.labels.items()
        ]
        return found

    def labels(self, name: str) -> Mapping[str, str]:
        """Those of the one sample of this name."""
        (found,) = [each for each in self._samples if each.name == f"blazeio_{name}"]
        return found.labels


async def test_requests_are_counted_over_the_deaths_of_workers(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    for worker in (3, 1):
        order, ends = harness.workers.prepare(Spawn(worker, 0, 1))
        close(ends)
        row = harness.workers.records[order.worker].row
        row.counted[first_cell(200)] = 0.5
        row.counted[first_cell(200) + 1] = 10
        row.counted[first_cell(200) + 3] = 2
        row.counted[first_cell(503) + 1] = 1
        row.counted[REQUEST_BYTES], row.counted[RESPONSE_BYTES] = 7, 9
        row.count(3, 4, 13, http2=5)
        if worker == 3:
            harness.workers.note_fork_failed(3, "it died")
    figures = MetricSamples(harness)
    assert figures.find("requests_total", status="2xx") == 24
    assert figures.find("requests_total", status="5xx") == 2
    assert figures.find("http2_requests_total") == 10
    assert figures.find("requests_total", status="none") == 0
    assert figures.find("request_content_bytes_total") == 14
    assert figures.find("response_content_bytes_total") == 18
    assert figures.find("slot_requests_total", slot="0") == 26
    assert figures.find("requests_in_flight", slot="0") == 3
    assert figures.find("connections", slot="0") == 4
    harness.workers.forget_unanswered(1)


async def test_threads_and_what_runs_on_are_told_by_slot(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path, slots=2)
    order, ends = harness.workers.prepare(Spawn(1, 0, 1))
    close(ends)
    row = harness.workers.records[order.worker].row
    row.count(20, 10, 40, background=2, threads=ThreadLoad(4, 3, 12))
    figures = MetricSamples(harness)
    assert figures.find("requests_background", slot="0") == 2
    assert figures.find("threads", slot="0", state="busy") == 3
    assert figures.find("threads", slot="0", state="idle") == 1
    assert figures.find("requests_waiting") == 12  # the other slot has no sample
    harness.workers.forget_unanswered(1)


async def test_a_histogram_is_cumulative_and_agrees_with_its_count(
    tmp_path: Path,
) -> None:
    harness = MasterHarness(tmp_path)
    order, ends = harness.workers.prepare(Spawn(1, 0, 1))
    close(ends)
    row = harness.workers.records[order.worker].row
    row.counted[first_cell(200)] = 0.5
    row.counted[first_cell(200) + 1] = 10
    row.counted[first_cell(200) + 2] = 2
    row.beat(1.0, 0.002)
    figures = MetricSamples(harness)
    name = "request_duration_seconds"
    assert figures.find(f"{name}_bucket", status="2xx", le="0.001") == 10
    assert figures.find(f"{name}_bucket", status="2xx", le="0.0025") == 12
    assert figures.find(f"{name}_bucket", status="2xx", le="+Inf") == 12
    assert figures.find(f"{name}_count", status="2xx") == 12
    assert figures.find(f"{name}_sum", status="2xx") == 0.5
    assert figures.find("loop_lag_seconds_bucket", le="0.0025") == 1
    harness.workers.forget_unanswered(1)


async def test_changes_are_counted_by_reason_and_result(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    harness.events.history.counts.update(
        {
            ("worker_failed", "SIGKILL"): 3,
            ("worker_failed", "blocked"): 1,
            ("recycling", "memory"): 2,
            ("reload_ok", ""): 4,
            ("reload_failed", ""): 5,
            ("adopted", ""): 6,
            ("turn_failed", ""): 7,
        }
    )
    figures = MetricSamples(harness)
    assert figures.find("respawns_total", reason="SIGKILL") == 3
    assert figures.find("respawns_total", reason="blocked") == 1
    assert figures.find("respawns_total", reason="memory") == 2
    assert figures.find("respawns_total", reason="late") == 0
    assert figures.find("reloads_total", result="ok") == 4
    assert figures.find("reloads_total", result="failed") == 5
    assert figures.find("reloads_total", result="superseded") == 0
    assert figures.find("adoptions_total") == 6
    assert figures.find("faults_total", event="turn_failed") == 7
    assert figures.find("faults_total", event="planner_failed") == 0


async def test_the_service_says_what_it_is(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    harness.listeners.open(TcpAddress("127.0.0.1", 0))
    figures = MetricSamples(harness)
    labels = figures.labels("info")
    assert (labels["app"], labels["loop"]) == ("app:web", "uvloop")
    assert labels["version"]
    assert figures.find("ready") == 1
    assert figures.find("generation") == 1
    assert figures.find("workers_serving") == figures.find("workers_wanted") == 2
    assert figures.find("accept_queue_length", slot="1") == 0
    assert figures.find("accept_queue_limit", slot="1") > 0
    harness.listeners.shut()


async def test_memory_is_by_slot_and_kind(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    _, ends = harness.workers.prepare(Spawn(1, 0, 1))
    close(ends)
    harness.readings.note_memory(1, Memory(10, 20, 30))
    figures = MetricSamples(harness)
    assert [
        figures.find("memory_bytes", slot="0", kind=kind)
        for kind in ("uss", "pss", "rss")
    ] == [10, 20, 30]
    harness.workers.forget_unanswered(1)
