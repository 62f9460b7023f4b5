import time

import pytest

from blazeio_supervisor.fleet.facts import (
    Beat,
)
from blazeio_supervisor.master.memory import AT_REST_EVERY_S, Memory
from tests.supervisor.master.workers_harness import WorkersHarness


async def test_each_row_is_a_fact_also_before_its_first_beat(
    harness: WorkersHarness,
) -> None:
    harness.prepare()
    assert harness.readings.read_beats() == [Beat(1, 0.0)]
    row = harness.rows[0]
    row.count(1, 2, 3, True)
    row.beat(99.0, 1.0)
    assert harness.readings.read_beats() == [Beat(1, 99.0, 0.5, 1, 2, True, None, 3)]


async def test_what_was_measured_is_in_the_beats(harness: WorkersHarness) -> None:
    assert harness.readings.list_pids() == {}
    harness.prepare()
    assert harness.readings.list_pids() == {}
    harness.workers.note_forked(1, pid := harness.spawn(), 1)
    assert harness.readings.list_pids() == {1: pid}
    harness.readings.note_memory(9, Memory(1, 2))  # is gone
    harness.readings.note_memory(1, Memory(300, 400))
    assert harness.readings.read_beats() == [Beat(1, 0.0, memory_bytes=300)]


async def test_who_rests_is_seen_to_wake_and_measured_once_a_minute(
    harness: WorkersHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = {1: harness.fork(), 2: harness.fork()}
    readings, rows = harness.readings, harness.rows
    assert readings.has_woken()
    for row in rows:
        row.rest(True)
    assert not readings.has_woken()
    assert readings.list_pids() == pids
    for worker in pids:
        readings.note_memory(worker, Memory(300, 400))
    assert readings.list_pids() == {}
    rows[0].rest(False)
    assert readings.has_woken()
    assert readings.list_pids() == {1: pids[1]}
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + AT_REST_EVERY_S)
    assert readings.list_pids() == pids


async def test_a_row_can_be_read_while_its_worker_lives(
    harness: WorkersHarness,
) -> None:
    harness.prepare()
    harness.rows[0].count(1, 2, 3)
    reading = harness.readings.read_row(1)
    assert reading is not None
    assert (reading.in_flight, reading.connections, reading.requests) == (1, 2, 3)
    assert harness.readings.read_row(2) is None


async def test_requests_of_a_slot_are_those_of_the_living_and_the_dead(
    harness: WorkersHarness,
) -> None:
    row = harness.ledger.take()
    row.count(0, 0, 5)
    harness.ledger.fold(row, 0)
    harness.prepare()
    harness.rows[0].count(0, 0, 2)
    assert {s: t.requests for s, t in harness.readings.read_tallies().items()} == {0: 7}
