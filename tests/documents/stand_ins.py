"""What the code of documents takes for granted: an app, a database, files, a server."""

import ast
import asyncio
import dataclasses
import datetime
import inspect
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec

import blazeio as io
from blazeio.testing import TestServer
from tests.documents.blocks import Block

HOST = "https://example.com"
"""What documents call the server that is asked."""

APP = """\
import blazeio as io

web = io.App("127.0.0.1", 8000)


def make_app():
    return web


@web.route.get("/")
async def hello(r):
    await io.Deliver.text(r, "hello\\n")


if __name__ == "__main__":
    web.runner()
"""
"""The ``app.py`` of documents that show none."""
MAIN = """\
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello\\n"})
"""
"""Likewise, their ``main.py``."""


class Database:
    """A pool of connections, as its users see it."""

    def begin(self) -> nullcontext[None]:
        return nullcontext()


class Storage:
    """Where uploads go."""

    async def write(self, octets: bytes) -> None:
        assert octets


def make_server() -> TestServer:
    """Make a server that answers everything, an event stream too."""
    web = io.App()

    @web.add_route("/{rest:path}", methods=["GET", "POST", "PROPFIND"])
    async def answer(r: io.BlazeioServerProtocol, rest: str) -> None:
        if r.headers.get("accept") == "text/event-stream":
            async with io.EventStream(r) as events:
                await events.send("hello")
        else:
            await r.read()
            await io.Deliver.json(r, {"path": rest})

    return TestServer(web)


def make_files(folder: Path) -> None:
    """Make the files and folders that documents name."""
    for name in ("public", "templates"):
        (folder / name).mkdir()
    (folder / "a.png").write_bytes(b"an image")


def make_stand_ins(page: str, url: str) -> dict[str, Any]:
    """Make the names that the code of a document uses and does not define.

    Args:
        page: Names the document in tracebacks.
        url: Of the server that is asked.
    """
    return {
        "__name__": page,
        "Annotated": Annotated,
        "Database": Database,
        "LOST_PAGE": "<h1>Lost</h1>",
        "Path": Path,
        "USERS": {},
        "api": io.App(),
        "asyncio": asyncio,
        "check": lambda name, password: bool(name and password),
        "database": Database(),
        "dataclass": dataclasses.dataclass,
        "datetime": datetime,
        "httpx": httpx,
        "io": io,
        "msgspec": msgspec,
        "os": os,
        "storage": Storage(),
        "upstream_url": url,
        "url": url,
        "web": io.App("127.0.0.1", 8000),
    }


def run_block(block: Block, place: str, namespace: dict[str, Any], url: str) -> None:
    """Run a block, which may wait at its top as within a coroutine."""
    text = block.text.replace(HOST, url)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(text, f"{place}:{block.line}", "exec", flags=flags)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)
