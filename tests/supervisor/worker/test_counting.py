import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import USUAL_S, ServerContext
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.toolset import ServedApp
from blazeio_supervisor.ipc.row_tables import (
    ANSWERED_COUNT,
    RouteReading,
    make_key,
)
from blazeio_supervisor.ipc.scoreboard import (
    BATCH,
    LATENCY_EDGES_S,
    STATUS_CLASSES,
    USUAL_BYTES,
    Row,
    Tally,
    make_row_memory,
)
from blazeio_supervisor.worker.counting import RouteCounter, WorkerTally, generalize
from tests.protocol.serving import GET, R, Served, forever, hello, post
from tests.support.clock import wait_until
from tests.support.transport import FakeTransport


@pytest.fixture
def row() -> Row:
    return Row(make_row_memory())


@pytest.fixture
async def site(row: Row) -> AsyncIterator[Served]:
    async def handle(r: R) -> None:
        if r.path == "/forever":
            await forever(r)
        elif r.path == "/late":
            await asyncio.sleep(LATENCY_EDGES_S[4] * 1.1)
            r.reply(b"late", 503)
        elif r.path == "/created":
            r.reply(b"", 201)
        elif r.method == "POST":
            r.reply(await r.read() * 2)
        else:
            await hello(r)

    served = Served.start(handle, Limits())
    served.server.count_requests(WorkerTally(row))
    yield served
    await served.end()


async def read_tally(row: Row, status_class: str) -> Tally:
    """Once there is a response of this class."""
    await wait_until(lambda: row.read_tally().latency(status_class).count > 0)
    return row.read_tally()


async def test_a_response_is_counted_by_its_status_class(
    site: Served, row: Row
) -> None:
    peer = await site.connect()
    for _ in range(3):
        await peer.exchange(GET)
    tally = await read_tally(row, "2xx")
    assert [tally.latency(each).count for each in STATUS_CLASSES] == [0, 0, 3, 0, 0, 0]


async def test_its_span_falls_into_one_bucket(site: Served, row: Row) -> None:
    peer = await site.connect()
    await peer.exchange(GET.replace(b"/", b"/late", 1))
    latency = (await read_tally(row, "5xx")).latency("5xx")
    assert sum(latency.counts[:4]) == 0
    assert latency.count == 1
    assert latency.total_s > LATENCY_EDGES_S[4]


async def test_content_of_both_ways_is_counted(site: Served, row: Row) -> None:
    peer = await site.connect()
    await peer.exchange(post(b"12345"))
    tally = await read_tally(row, "2xx")
    assert (tally.request_bytes, tally.response_bytes) == (5, 10)


async def test_what_was_no_request_took_no_time(site: Served, row: Row) -> None:
    peer = await site.connect()
    await peer.exchange(b"no request\r\n\r\n")
    latency = (await read_tally(row, "4xx")).latency("4xx")
    assert latency.counts[0] == 1


async def test_who_leaves_before_an_answer_is_counted_apart(
    site: Served, row: Row
) -> None:
    peer = await site.connect()
    await peer.send(GET.replace(b"/", b"/forever", 1))
    await wait_until(lambda: site.server.in_flight == 1)
    peer.reset()
    assert (await read_tally(row, "none")).latency("none").count == 1


async def test_a_response_stands_in_the_row_before_the_next_turn(row: Row) -> None:
    context = ServerContext(hello, Limits(), asyncio.get_running_loop())
    context.count_requests(WorkerTally(row))
    FakeTransport(Http1Connection(context)).feed(GET)
    await asyncio.sleep(0)
    assert row.read_tally().latency("2xx").count == 1
    context.close()


async def test_statuses_of_one_class_add_up(site: Served, row: Row) -> None:
    peer = await site.connect()
    await peer.exchange(GET)
    await peer.exchange(GET.replace(b"/", b"/created", 1))
    await peer.exchange(GET)
    latency = (await read_tally(row, "2xx")).latency("2xx")
    assert latency.count == 3
    assert latency.total_s > 0


SIZES = (0, 1, USUAL_BYTES - 1, USUAL_BYTES, USUAL_BYTES + 1)


async def test_each_response_is_counted_whatever_batch_it_is_in(row: Row) -> None:
    async def answer(r: R) -> None:
        r.reply(bytes(int(r.path[1:])))

    context = ServerContext(answer, Limits(), asyncio.get_running_loop())
    context.count_requests(WorkerTally(row))
    context.now = itertools.count(5.0, 0.0005).__next__
    transport, content_bytes = FakeTransport(Http1Connection(context)), 0
    for number in range(1, 3 * BATCH):
        size = SIZES[number % len(SIZES)]
        transport.feed(GET.replace(b"/", b"/%d" % size, 1))
        await wait_until(lambda: not context.in_flight)
        content_bytes += size
        tally = row.read_tally()
        latency = tally.latency("2xx")
        assert (latency.counts[0], tally.response_bytes) == (number, content_bytes)
        assert latency.total_s == pytest.approx(number * 0.0005)
    assert not row.fault
    context.close()


def test_who_dies_as_a_batch_is_added_up_has_lost_nothing(row: Row) -> None:
    """The row says the same before each line that runs meanwhile, and after it."""
    tally, seen = WorkerTally(row), list[tuple[int, int, float]]()

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        sys.settrace(None)
        cells = row.read_tally()
        latency = cells.latency("2xx")
        seen.append((latency.count, cells.response_bytes, latency.total_s))
        sys.settrace(look)
        return look

    for number in range(1, 4):
        for _ in range(BATCH - 1):
            tally.packed = tally.usual[0] = tally.packed + 2**-10 + tally.steps[7]
        assert tally.packed >= tally.full_at
        count = number * (BATCH - 1)
        tracing = sys.gettrace()
        sys.settrace(look)
        tally.fold()
        sys.settrace(tracing)
        assert len(seen) > 10
        assert set(seen) == {(count, 7 * count, count * 2**-10)}
        seen.clear()


async def test_what_is_usual_is_counted_as_what_is_not(row: Row) -> None:
    """The usual is counted by hand in ``HandlerTask``, the rest by ``record``."""
    context = ServerContext(hello, Limits(), asyncio.get_running_loop())
    context.count_requests(WorkerTally(row))
    times = itertools.chain.from_iterable((0.0, span) for span in LATENCY_EDGES_S[1:-1])
    context.now = iter(times).__next__
    transport = FakeTransport(Http1Connection(context))
    for method in (b"GET", b"GET", b"POST", b"GET"):
        content = b"Content-Length: 1\r\n\r\nx" if method == b"POST" else b"\r\n"
        transport.feed(method + GET[3:-2] + content)
        await wait_until(lambda: not context.in_flight)
    tally = row.read_tally()
    latency = tally.latency("2xx")
    assert latency.counts[:5] == (1, 1, 1, 1, 0)
    assert latency.total_s == pytest.approx(sum(LATENCY_EDGES_S[1:5]))
    assert (tally.request_bytes, tally.response_bytes) == (1, 4 * len(b"hello"))
    assert LATENCY_EDGES_S[1] == USUAL_S
    context.close()


async def test_other_recorders_are_told_of_usual_responses(row: Row) -> None:
    """Whether they were added before the tally or after."""
    seen: list[tuple[str, int]] = []

    class Witness:
        def __init__(self, name: str) -> None:
            self._name = name

        def record(self, r: R) -> None:
            seen.append((self._name, r.status))

        def close(self) -> None:
            """Keep what was seen."""

    served = Served.start(hello, Limits())
    served.server.record_responses(Witness("before"))
    served.server.count_requests(WorkerTally(row))
    served.server.record_responses(Witness("after"))
    peer = await served.connect()
    await peer.exchange(GET)
    await peer.exchange(GET.replace(b"GET", b"PUT", 1))
    await wait_until(lambda: len(seen) == 4)
    assert seen == [("before", 200), ("after", 200)] * 2
    assert row.read_tally().latency("2xx").count == 2
    await served.end()


async def test_a_request_is_named_as_it_begins(site: Served, row: Row) -> None:
    peer = await site.connect()
    await peer.exchange(GET)
    assert row.read_begun() == ["GET /"]
    await peer.send(GET.replace(b"/", b"/forever?a=1", 1))
    await wait_until(lambda: site.server.in_flight == 1)
    assert row.read().in_flight == 1
    assert row.read_begun() == ["GET /forever", "GET /"]


async def test_another_method_of_the_same_target_is_named(
    site: Served, row: Row
) -> None:
    peer = await site.connect()
    for method in (b"GET", b"DELETE", b"DELETE"):
        await peer.exchange(GET.replace(b"GET", method))
    assert row.read_begun() == ["DELETE /", "GET /"]


async def test_who_rests_is_woken_by_a_request_to_the_same_target(row: Row) -> None:
    tally, woken = WorkerTally(row), list[float]()
    context = ServerContext(hello, Limits(), asyncio.get_running_loop())
    context.count_requests(tally)
    transport = FakeTransport(Http1Connection(context))
    transport.feed(GET)
    await wait_until(lambda: not context.in_flight)
    tally.wake_by_next(lambda: woken.append(context.in_flight))
    for _ in range(2):
        transport.feed(GET)
        await wait_until(lambda: not context.in_flight)
    assert woken == [1]  # once, by the first
    context.close()


async def test_each_route_is_counted_by_how_it_was_answered(row: Row) -> None:
    async def handle(r: R) -> None:
        first, _, status = r.path[1:].partition("/")
        r.reply(b"", int(status or first))

    class NamesByPath(ServedApp):
        def name_handler(self, method: str, path: str) -> str:
            return f"app.{path.split('/')[1]}"

    served = Served.start(handle, Limits(), app=NamesByPath())
    served.server.record_responses(RouteCounter(row.routes))
    peer = await served.connect()

    async def ask(path: str) -> None:
        await peer.exchange(GET.replace(b"/", path.encode(), 1))

    def read(route: str) -> tuple[int, int, str]:
        found = {each.key: each for each in row.read_routes()}
        its = found.get(make_key("GET", route), RouteReading(0))
        return its.answered, its.failed, its.text

    for path in ("/200", "/304", "/404", "/500?a=1", "/a/200", "/a/503", "/a/500"):
        await ask(path)
    assert read("/*") == (2, 1, "GET /500 in app.500")
    assert read("/a/*") == (1, 2, "GET /a/503 in app.a")
    # Those that fail most have the places; one that fails more takes one.
    for name in "bcdef":
        await ask(f"/{name}/500")
    assert read("/e/*") == (0, 0, "")
    await ask("/e/500")
    assert read("/e/*") == (0, 2, "GET /e/500 in app.e")
    await served.end()


async def test_routes_beyond_the_bounds_are_not_counted(row: Row) -> None:
    table = row.routes
    places = [table.add_answered(key) for key in range(1, ANSWERED_COUNT + 2)]
    assert places[-1] is None
    assert None not in places[:-1]
    for place in places[:-1]:
        assert place is not None
        table.count_answered(place)
    assert sorted(each.key for each in row.read_routes()) == list(
        range(1, ANSWERED_COUNT + 1)
    )


def test_a_path_without_a_route_stands_for_those_that_differ_in_a_value() -> None:
    assert generalize("/users/17/posts/2024-01") == "/users/*/posts/*"
    assert generalize("/users/me") == "/users/me"
    assert generalize("/" + "x" * 40) == "/*"
    assert len(generalize("/a" * 10_000)) == 200
