import asyncio
import logging
import tracemalloc
from collections.abc import Iterator

import pytest

from blazeio_supervisor.log.formats import EventRecord
from blazeio_supervisor.log.setup import (
    EVENT_LOG,
    TEXT_CHARS,
    TRACEBACK_CHARS,
    note,
)
from blazeio_supervisor.master.status import (
    EVENTS_KEPT_BYTES,
    EVENTS_KEPT_COUNT,
    EventRing,
)
from tests.supervisor.copies import copy
from tests.support.clock import wait_until, within


@pytest.fixture
def ring() -> Iterator[EventRing]:
    made = EventRing()
    made.attach()
    yield made
    made.detach()


def names(events: list[EventRecord]) -> list[str]:
    return [event.event for event in events]


def test_it_keeps_what_is_noted_in_order_also_below_the_level_of_the_log(
    ring: EventRing,
) -> None:
    note("ready", "one")
    note("steered", "two", "DEBUG")
    logging.getLogger("blazeio.master").info("no event")
    kept = ring.list_after(0)
    assert [(each.seq, each.event) for each in kept] == [(1, "ready"), (2, "steered")]
    assert names(ring.list_after(1)) == ["steered"]


def test_of_many_the_last_are_given(ring: EventRing) -> None:
    for text in "abc":
        note("scaled", text)
    assert [each.text for each in ring.list_after(0, 2)] == ["b", "c"]
    assert ring.list_after(0, 0) == []


def test_the_oldest_are_forgotten_but_counted(ring: EventRing) -> None:
    for _ in range(EVENTS_KEPT_COUNT + 5):
        note("adopted", "", "DEBUG")
    kept = ring.list_after(0)
    assert (len(kept), kept[0].seq) == (EVENTS_KEPT_COUNT, 6)
    assert ring.history.counts["adopted", ""] == EVENTS_KEPT_COUNT + 5


def test_they_are_counted_by_reason(ring: EventRing) -> None:
    for reason in ("SIGKILL", "late", "SIGKILL"):
        note("worker_failed", "", "DEBUG", reason=reason)
    assert ring.history.counts == {
        ("worker_failed", "SIGKILL"): 2,
        ("worker_failed", "late"): 1,
    }


async def test_who_follows_is_told_of_each_until_the_end(ring: EventRing) -> None:
    seen: list[str] = []

    async def follow() -> None:
        async for events in ring.follow(1):
            seen.extend(names(events))

    note("ready", "")
    note("scaled", "")
    task = asyncio.create_task(follow())
    await wait_until(lambda: seen == ["scaled"])
    note("stopping", "")
    await wait_until(lambda: seen == ["scaled", "stopping"])
    note("stopped", "")
    ring.detach()
    await within(task, 5)
    assert seen == ["scaled", "stopping", "stopped"]


def test_detached_it_leaves_the_log_as_it_was() -> None:
    before = EVENT_LOG.level, EVENT_LOG.handlers[:]
    ring = EventRing()
    ring.attach()
    ring.detach()
    note("ready", "")
    assert (EVENT_LOG.level, EVENT_LOG.handlers) == before
    assert ring.list_after(0) == []


def test_another_goes_on_where_one_has_stopped(ring: EventRing) -> None:
    note("worker_failed", "one", reason="late")
    history = copy(ring.history)
    ring.detach()
    later = EventRing(history)
    later.attach()
    note("worker_failed", "two", reason="late")
    later.detach()
    assert [each.seq for each in later.list_after(0)] == [1, 2]
    assert later.history.counts["worker_failed", "late"] == 2


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u2192", "\U0001f600"])
def test_it_keeps_so_many_octets_whatever_the_texts_are(
    ring: EventRing, character: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EVENT_LOG, "propagate", False)  # pytest keeps all of it
    tracemalloc.start()
    for number in range(2_000):
        text = character * 3_000 + str(number)
        note("blocked", text, traceback=text * 3, words=text)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 1.25 * EVENTS_KEPT_BYTES
    kept = ring.list_after(0)
    assert kept[-1].seq == 2_000
    assert len(kept) > 50


def test_one_that_is_larger_than_all_is_cut_and_kept(ring: EventRing) -> None:
    note("blocked", "x" * 10**6, traceback="y" * 10**6 + "end")
    (event,) = ring.list_after(0)
    assert len(event.text) == TEXT_CHARS
    assert len(event.traceback) == TRACEBACK_CHARS
    assert event.traceback.endswith("end")


def test_what_another_image_has_kept_counts_too(
    ring: EventRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EVENT_LOG, "propagate", False)  # pytest keeps all of it
    text = "x" * 7_000
    for _ in range(2_000):
        note("blocked", text, traceback=text * 3)
    taken = EventRing(copy(ring.history))
    before = len(taken.list_after(0))
    event = ring.list_after(0)[-1]
    for _ in range(before):
        taken._keep(event)
    assert abs(len(taken.list_after(0)) - before) <= 1
