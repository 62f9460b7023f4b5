"""Chromium over TLS: fetches, an upload, events, aborts and a WebSocket at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from selenium.webdriver import Chrome

import blazeio as io
from blazeio.protocol.request import BlazeioServerProtocol as R
from blazeio.testing import TestServer
from tests.support.chromium import open_chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SCRIPT = """
const done = arguments[arguments.length - 1]
async function all() {
  const told = {}
  const answers = await Promise.all(
    [...Array(300).keys()].map(n => fetch(`/number?${n}`).then(r => r.text())))
  told.numbers = answers.filter((text, n) => text === `${n} over 2`).length
  const body = new Uint8Array(3_000_000)
  told.uploaded = await fetch('/upload', {method: 'POST', body}).then(r => r.text())
  const control = new AbortController()
  const slow = [...Array(90).keys()].map(
    () => fetch('/slow', {signal: control.signal}).catch(error => error.name))
  setTimeout(() => control.abort(), 200)
  told.aborted = (await Promise.all(slow)).filter(name => name === 'AbortError').length
  told.after = await fetch('/number?1').then(r => r.text())
  told.events = await new Promise(resolve => {
    const seen = [], source = new EventSource('/events')
    source.onmessage = event => {
      seen.push(event.data)
      if (seen.length === 3) { source.close(); resolve(seen.join(' ')) }
    }
  })
  told.echoed = await new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/chat`)
    socket.onopen = () => socket.send('hello')
    socket.onmessage = event => { resolve(event.data); socket.close() }
    socket.onerror = () => reject('the WebSocket failed')
  })
  return told
}
all().then(done, error => done({error: `${error}`}))
"""


def make_app(tls: io.TlsSettings, seen: list[tuple[str, object]]) -> io.App:
    web = io.App(tls=tls)

    @web.route.get("/")
    async def page(r: R) -> None:
        await io.Deliver.html(r, "<!doctype html><title>a</title>")

    @web.route.get("/number")
    async def number(r: R) -> None:
        seen.append(("number", r.transport.get_extra_info("peername")))
        await io.Deliver.text(r, f"{r.query} over {r.http_version}")

    @web.route.post("/upload")
    async def upload(r: R) -> None:
        await io.Deliver.text(r, str(len(await r.read())))

    @web.route.get("/slow")
    async def slow(r: R) -> None:
        await r.peer_closed

    @web.route.get("/events")
    async def events(r: R) -> None:
        async with io.EventStream(r) as stream:
            for each in ("one", "two", "three"):
                await stream.send(each)
            await r.peer_closed

    @web.route.get("/chat")
    async def chat(r: R) -> None:
        seen.append((f"chat over {r.http_version}", None))
        async with io.WebSocket(r) as ws:
            async for message in ws:
                await ws.send(message)

    return web


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chrome]:
    with open_chromium(tmp_path) as chrome:
        yield chrome


@pytest.mark.timeout(120)
def test_a_page_does_all_that_pages_do(chromium: Chrome, tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "leaf"))
    seen: list[tuple[str, object]] = []
    web = make_app(io.TlsSettings(certfile=tmp_path / "leaf"), seen)
    with TestServer(web, grace_s=0.2) as server:
        chromium.set_script_timeout(60)
        chromium.get(server.url)
        told: dict[str, Any] = chromium.execute_async_script(SCRIPT)
    assert told == {
        "numbers": 300,
        "uploaded": "3000000",
        "aborted": 90,
        "after": "1 over 2",
        "events": "one two three",
        "echoed": "hello",
    }
    assert len({peer for name, peer in seen if name == "number"}) == 1
    assert ("chat over 2", None) in seen
