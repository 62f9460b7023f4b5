"""``r.id``, ``r.route`` and the filter that puts ids into log records."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.middleware import RequestIdFilter
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.served import served

R = BlazeioServerProtocol


def make_app(**options: Any) -> App:
    web = App(**options)

    @web.route.get("/id")
    async def tell(r: R) -> None:
        await Deliver.text(r, f"{r.id} {r.id}")

    @web.route.get("/users/{number:int}")
    async def user(r: R, number: int) -> None:
        await Deliver.text(r, str(r.route))

    @web.add_route
    async def handle_all_middleware(r: R) -> None:
        await Deliver.text(r, str(r.route))

    return web


async def test_it_stays_the_same_within_a_request_and_is_another_in_the_next() -> None:
    async with served(make_app()) as site:
        answers = [(await site.get("/id")).text.split() for _ in range(3)]
    assert all(first == second for first, second in answers)
    assert len({first for first, _ in answers}) == 3


@pytest.mark.http1
async def test_the_next_request_on_a_connection_has_its_own() -> None:
    async with served(make_app()) as site, await site.connect() as peer:
        told = set()
        for _ in range(2):
            await peer.send(b"GET /id HTTP/1.1\r\nHost: a\r\n\r\n")
            told.add((await peer.read_response()).text.split()[0])
    assert len(told) == 2


@pytest.mark.parametrize(
    ("trusted", "sent", "is_taken"),
    [
        ("*", "abc-123", True),
        ("", "abc-123", False),
        ("10.9.9.9", "abc-123", False),
        ("*", "a b", False),
        ("*", "x" * 129, False),
    ],
)
async def test_only_a_trusted_proxy_names_a_request(
    trusted: str, sent: str, is_taken: bool
) -> None:
    async with served(make_app(forwarded_allow_ips=trusted)) as site:
        answer = await site.ask("GET", "/id", headers={"X-Request-ID": sent})
    told = answer.text.split()[0]
    assert (told == sent) is is_taken
    assert is_taken or len(told) == 32


async def test_the_route_is_told_as_it_was_declared() -> None:
    outer = App()
    outer.mount("/api", make_app())
    async with served(make_app()) as site, served(outer) as around:
        assert (await site.get("/users/7")).text == "/users/{number:int}"
        assert (await site.get("/nowhere")).text == "None"
        assert (await around.get("/api/users/7")).text == "/api/users/{number:int}"


async def test_the_access_log_has_both(tmp_path: Path) -> None:
    web = make_app(
        access_log=str(tmp_path / "log"), access_log_format="{request_id} {route}"
    )
    async with served(web) as site:
        told = (await site.get("/id")).text.split()[0]
        await site.get("/users/7")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == f"{told} /id"
    assert lines[1].endswith(" /users/{number:int}")


async def test_the_filter_names_the_request_that_is_being_handled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()
    log = logging.getLogger("shop")
    caplog.handler.addFilter(RequestIdFilter())

    async def in_a_task() -> None:
        log.warning("task")

    @web.route.get("/x")
    async def x(r: R) -> None:
        log.warning("handler")
        await asyncio.create_task(in_a_task())
        await asyncio.to_thread(log.warning, "thread")
        await Deliver.text(r, r.id)

    async with served(web) as site:
        told = (await site.get("/x")).text
    log.warning("outside")
    ids = {r.getMessage(): r.__dict__.get("request_id") for r in caplog.records}
    assert ids["handler"] == ids["task"] == told
    assert ids["outside"] == "-"
    assert "thread" in ids


def test_the_filter_works_where_no_loop_runs() -> None:
    record = logging.LogRecord("a", 30, "f", 1, "m", None, None)
    assert RequestIdFilter().filter(record)
    assert record.__dict__["request_id"] == "-"
