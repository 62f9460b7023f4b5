"""``io.Abort(...)`` on a line of its own: ``raise`` was forgotten."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import Abort
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.response import Response
from tests.support.served import served

R = BlazeioServerProtocol


async def answer_of(handler: Callable[[Any], Awaitable[Any]]) -> Response:
    web = App()
    web.add_route(handler, "/x")
    async with served(web) as site:
        return await site.get("/x")


def check_line(caplog: pytest.LogCaptureFixture, said: str) -> None:
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    line = record.getMessage()
    assert said in line
    assert re.search(rf"<locals>\.\w+ \({re.escape(__file__)}:\d+\)", line)


async def test_a_forgotten_raise_is_a_500_and_one_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(r: R) -> None:
        Abort("Whom?", 400)

    assert (await answer_of(handler)).status == 500
    check_line(caplog, "Abort('Whom?', 400) was made and not raised in ")
    assert "write `raise`" in caplog.text


async def test_a_forgotten_raise_before_an_answer_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def find(r: R) -> None:
        Abort("Whom?", 400)

    async def handler(r: R) -> None:
        await find(r)
        await Deliver.text(r, "all")

    assert (await answer_of(handler)).text == "all"
    check_line(caplog, "was made and not raised in ")


async def test_what_is_raised_elsewhere_or_kept_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = [Abort("kept", 400)]

    async def handler(r: R) -> None:
        try:
            raise Abort("caught", 400)
        except Abort:
            pass
        kept.append(Abort("kept", 400))
        raise ExceptionGroup("g", [Abort("Whom?", 409)])

    assert (await answer_of(handler)).status == 409
    Abort("outside", 400)
    assert not caplog.records
