"""Apps of other interfaces over HTTP/2, as curl sees them."""

import asyncio
from typing import Any

from tests.gateways.apps import Receive, Send, asgi, body, read_all, start, wsgi
from tests.support.served import Site


async def curl(site: Site, target: str, *options: str) -> str:
    """What curl has got by HTTP/2 with prior knowledge, heads included."""
    url = f"http://127.0.0.1:{site.port}{target}"
    words = ["curl", "-si", "--http2-prior-knowledge", "--max-time", "10", *options]
    process = await asyncio.create_subprocess_exec(
        *words, url, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode().replace("\r\n", "\n")


async def app(scope: Any, receive: Receive, send: Send) -> None:
    content = await read_all(receive)
    if scope["path"] == "/hints":
        links = [b"</a.css>"]
        await send({"type": "http.response.early_hint", "links": links})
    fields = [(b"x-version", scope["http_version"].encode()), (b"connection", b"x")]
    await send(start(200, *fields))
    if scope["path"] == "/pieces":
        for piece in (b"one", b"", b"two"):
            await send(body(piece, more=True))
        await send(body())
    else:
        await send(body(content or b"hello"))


async def test_an_asgi_app_is_told_the_version() -> None:
    async with asgi(app) as site:
        answer = await curl(site, "/")
    assert answer.startswith("HTTP/2 200 \n")
    assert "x-version: 2\n" in answer
    assert "connection" not in answer
    assert answer.endswith("\n\nhello")


async def test_bodies_go_both_ways() -> None:
    async with asgi(app) as site:
        content = "x" * 100_000
        assert (await curl(site, "/", "--data", content)).endswith(content)
        assert (await curl(site, "/pieces")).endswith("\n\nonetwo")


async def test_early_hints_are_frames_too() -> None:
    async with asgi(app) as site:
        answer = await curl(site, "/hints")
    assert answer.startswith("HTTP/2 103 \nlink: </a.css>\n\nHTTP/2 200 \n")


async def test_a_wsgi_app_is_told_the_version() -> None:
    def echo(environ: Any, start_response: Any) -> list[bytes]:
        content = environ["wsgi.input"].read()
        start_response("200 OK", [("X-Version", environ["SERVER_PROTOCOL"])])
        return [content or b"hello"]

    async with wsgi(echo) as site:
        assert "x-version: HTTP/2\n" in await curl(site, "/")
        content = "x" * 100_000
        assert (await curl(site, "/", "--data", content)).endswith(content)
