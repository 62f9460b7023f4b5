import asyncio
from collections.abc import AsyncIterator

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.http1 import Http1Connection
from blazeio_supervisor.ipc.row_tables import (
    ANSWERED_COUNT,
    RouteReading,
    make_key,
)
from blazeio_supervisor.ipc.scoreboard import (
    LATENCY_EDGES_S,
    STATUS_CLASSES,
    Row,
    Tally,
    make_row_memory,
)
from blazeio_supervisor.worker.counting import ResponseCounter, RouteCounter, generalize
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
    served.server.record_responses(ResponseCounter(row))
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
    context.record_responses(ResponseCounter(row))
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


async def test_each_route_is_counted_by_how_it_was_answered(row: Row) -> None:
    async def handle(r: R) -> None:
        first, _, status = r.path[1:].partition("/")
        r.reply(b"", int(status or first))

    def name_handler(method: str, path: str) -> str:
        return f"app.{path.split('/')[1]}"

    served = Served.start(handle, Limits(), name_handler=name_handler)
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
