"""One handler, one request, and what came of it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.protocol.request import BlazeioServerProtocol
from tests.content.bodies import BOUNDARY
from tests.support.response import Response
from tests.support.served import served

MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}

Ask = Callable[[BlazeioServerProtocol], Awaitable[Any]]


def app_of(ask: Ask, **limits: Any) -> App:
    """An app that answers on /x, as JSON, what ``ask`` returns."""
    web = App(**limits)

    @web.add_route
    async def _x(r: BlazeioServerProtocol) -> None:
        await Deliver.json(r, await ask(r))

    return web


async def answer_of(
    ask: Ask,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    target: str = "/x",
    **limits: Any,
) -> Response:
    """What ``ask`` makes of one request, as JSON."""
    async with served(app_of(ask, **limits)) as site:
        method = "GET" if content is None else "POST"
        return await site.ask(method, target, content, headers)
