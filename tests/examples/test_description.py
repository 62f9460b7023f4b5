"""Each code block of the project's description, as it is written there.

Only what it names without saying what it is was added: ``validate``, ``storage``,
``timestamp``, the routes of handlers that have none. The blocks that are the
definition of a method are called, not copied. The full example is in
``test_site.py``.
"""

import asyncio
import textwrap
import time
from collections.abc import Callable
from typing import Any

import brotlicffi
import pytest

import blazeio as io
from blazeio.protocol.payload import BlazeioPayloadUtils
from blazeio.protocol.toolset import ExtraToolset
from tests.app.asking import MULTIPART, URLENCODED
from tests.content.bodies import form, part
from tests.support.clock import wait_until
from tests.support.served import serialize_request, served


def run_block(block: str, **names: Any) -> dict[str, Any]:
    """Run a block as a module that knows ``web``, and ``names``."""
    known: dict[str, Any] = {
        "Blazeio": io,
        "io": io,
        "Abort": io.Abort,
        "asyncio": asyncio,
        "web": io.App(),
        **names,
    }
    exec(textwrap.dedent(block), known)
    return known


def app_of(handler: Any, path: str = "/x", **limits: Any) -> io.App:
    web = io.App(**limits)
    web.add_route(handler, path)
    return web


# Core API: Request Object


def test_the_class_has_the_bases_and_the_slots() -> None:
    assert issubclass(io.BlazeioServerProtocol, asyncio.BufferedProtocol)
    assert issubclass(io.BlazeioServerProtocol, BlazeioPayloadUtils)
    assert issubclass(io.BlazeioServerProtocol, ExtraToolset)
    for name in (
        *("transport", "method", "path", "headers"),
        *("content_length", "current_length", "transfer_encoding"),
    ):
        assert hasattr(io.BlazeioServerProtocol, name)
    assert "__dict__" not in dir(io.BlazeioServerProtocol)


async def test_a_connection_is_made_and_lost() -> None:
    seen: list[io.BlazeioServerProtocol] = []

    async def handler(r: io.BlazeioServerProtocol) -> None:
        seen.append(r)
        assert r.is_alive
        assert not r.transport.is_closing()

    async with served(app_of(handler)) as site:
        await site.get("/x")
        await wait_until(lambda: not seen[0].is_alive)


async def test_the_writer_writes_safely_with_backpressure() -> None:
    web = io.App()

    @web.main_handler
    async def echo(r: io.BlazeioServerProtocol) -> None:
        async for chunk in r.request():
            for _ in range(1000):
                await r.buffer_overflow_manager()
                await r.writer(chunk * 1000)

    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"x")
        peer.half_close()
        assert await peer.read_until_end() == b"x" * 1_000_000


async def test_the_request_is_a_generator_of_chunks() -> None:
    async def handler(r: io.BlazeioServerProtocol) -> None:
        await r.ensure_reading()
        await io.Deliver.bytes(r, b"".join([chunk async for chunk in r.request()]))

    async with served(app_of(handler)) as site:
        assert (await site.ask("POST", "/x", b"octets")).body == b"octets"


async def test_chunks_are_written_and_handled() -> None:
    async def handler(r: io.BlazeioServerProtocol) -> None:
        async for chunk in r.handle_chunked():
            await r.write_chunked(chunk)

    async with served(app_of(handler)) as site, await site.connect() as peer:
        head = serialize_request("POST", "/x", None, {"Transfer-Encoding": "chunked"})
        await peer.send(head + b"3\r\none\r\n4\r\n two\r\n0\r\n\r\n")
        answer = await peer.read_response()
    assert answer.text == "one two"
    assert answer.field("transfer-encoding") == "chunked"


async def test_octets_are_compressed() -> None:
    async def handler(r: io.BlazeioServerProtocol) -> None:
        encoded = await r.br(b"octets") if r.query == "br" else await r.gzip(b"octets")
        await io.Deliver.bytes(r, encoded)

    async with served(app_of(handler)) as site:
        assert brotlicffi.decompress((await site.get("/x?br")).body) == b"octets"
        assert (await site.get("/x?gzip")).body.startswith(b"\x1f\x8b")


# Middleware Usage

BEFORE = """
@web.add_route
async def before_middleware(request):
    # Perform some task before the route is executed
    print("Before route executed.")
"""
AFTER = """
@web.add_route
async def after_middleware(request):
    # Perform some task after the route is executed
    print("After route executed.")
"""
FALLBACK = """
@web.add_route
async def handle_all_middleware(request):
    raise Abort("Route not found, but handled.", 404)
"""


async def test_the_middlewares_run_around_the_route() -> None:
    lines: list[str] = []
    known = run_block(BEFORE + AFTER, print=lines.append)

    async def handler(r: io.BlazeioServerProtocol) -> None:
        lines.append("Route executed.")
        await io.Deliver.text(r, "")

    known["web"].add_route(handler, "/x")
    async with served(known["web"]) as site:
        await site.get("/x")
        await wait_until(lambda: len(lines) == 3)
    assert lines == [
        "Before route executed.",
        "Route executed.",
        "After route executed.",
    ]


async def test_what_has_no_route_is_handled() -> None:
    async with served(run_block(FALLBACK)["web"]) as site:
        answer = await site.get("/nowhere")
    assert (answer.status, answer.text) == (404, "Route not found, but handled.")


# Tools & Request Utilities; they stand alone there, here in a handler

GET_JSON = """
@web.add_route
async def _x(r):
    json_data = await Blazeio.Request.get_json(r)
    await io.Deliver.json(r, json_data)
"""
GET_FORM_DATA = """
@web.add_route
async def _x(r):
    form_data = await Blazeio.Request.get_form_data(r)
    await io.Deliver.json(r, form_data)
"""
GET_UPLOAD = """
@web.add_route
async def _x(r):
    async for chunk in Blazeio.Request.get_upload(r):
        # Process file chunk
        await r.write(chunk)
"""
FILE = part('name="file"; filename="a.txt"', "octets")


@pytest.mark.parametrize(
    ("block", "content", "headers", "text"),
    [
        (GET_JSON, b'{"a": 1}', {}, '{"a":1}'),
        (GET_FORM_DATA, b"a=1&b=2", URLENCODED, '{"a":"1","b":"2"}'),
        (GET_FORM_DATA, form(part('name="a"', "1"), FILE), MULTIPART, '{"a":"1"}'),
        (GET_UPLOAD, form(part('name="a"', "1"), FILE), MULTIPART, "octets"),
    ],
)
async def test_a_request_is_read(
    block: str, content: bytes, headers: dict[str, str], text: str
) -> None:
    async with served(run_block(block)["web"]) as site:
        assert (await site.ask("POST", "/x", content, headers)).text == text


# Customizing Routes

NEW_ROUTE = """
class Server:
    async def _new_route(app, r):
        await io.Deliver.text(r, "This is /new/route")
"""


async def test_a_method_of_the_class_is_a_new_route() -> None:
    known = run_block(NEW_ROUTE)
    await known["web"].append_class_routes(known["Server"]())
    async with served(known["web"]) as site:
        assert (await site.get("/new/route")).text == "This is /new/route"


# Example Use Cases

SSE = """
async def sse_handler(r):
    while True:
        await r.write(f"data: {timestamp()}\\n\\n")
        await asyncio.sleep(1)
"""
UPLOAD = """
async def upload_handler(r):
    form = await io.Request.form_data(r)
    if not validate(form.get("metadata")):
        raise io.Abort("Invalid metadata", 400)

    async for chunk in r.pull():
        await storage.write(chunk)
"""


PROXY = """
async def proxy_handler(r):
    async with io.Session(upstream_url) as resp:
        await r.prepare(resp.headers, resp.status_code)
        async for chunk in resp.pull():
            await r.write(chunk)
"""


class Storage:
    def __init__(self) -> None:
        self.octets = b""

    async def write(self, chunk: bytes) -> None:
        self.octets += chunk


def upload_app(storage: Storage, validate: Callable[[str | None], bool]) -> io.App:
    known = run_block(UPLOAD, storage=storage, validate=validate)
    return app_of(known["upload_handler"])


async def test_events_are_streamed_until_the_client_goes_away() -> None:
    known = run_block(SSE, timestamp=time.time)
    ended: list[int] = []

    async def handler(r: io.BlazeioServerProtocol) -> None:
        try:
            await known["sse_handler"](r)
        finally:
            ended.append(1)

    async with served(app_of(handler)) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/x"))
            octets = b""
            while b"data: " not in octets:
                piece = await peer.read_some()
                assert piece
                octets += piece
        await wait_until(lambda: ended)


async def test_a_valid_upload_is_stored() -> None:
    storage = Storage()
    web = upload_app(storage, lambda metadata: metadata == "fine")
    body = form(part('name="metadata"', "fine"), FILE)
    async with served(web) as site:
        assert (await site.ask("POST", "/x", body, MULTIPART)).status == 204
    assert storage.octets == b"octets"


async def test_an_invalid_upload_is_refused_while_its_file_is_still_due() -> None:
    storage = Storage()
    web = upload_app(storage, lambda metadata: metadata == "fine")
    begun = part('name="metadata"', "bad") + FILE[:-4]
    head = {**MULTIPART, "Content-Length": str(10**9)}
    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("POST", "/x", None, head) + begun)
        answer = await peer.read_response()
    assert (answer.status, answer.text) == (400, "Invalid metadata")
    assert storage.octets == b""


async def test_a_proxy_relays_what_its_upstream_says() -> None:
    async def upstream(r: io.BlazeioServerProtocol) -> None:
        cookies = [("Set-Cookie", "d=1"), ("Set-Cookie", "e=2")]
        await r.prepare(cookies, 201, compress=True)
        await r.write("octets " * 100)

    async with served(app_of(upstream)) as behind:
        url = f"http://127.0.0.1:{behind.port}/x"
        known = run_block(PROXY, upstream_url=url)
        async with served(app_of(known["proxy_handler"])) as site:
            answer = await site.get("/x")
    assert (answer.status, answer.text) == (201, "octets " * 100)
    assert answer.field_all("set-cookie") == ["d=1", "e=2"]
