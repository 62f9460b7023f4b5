"""A page that shows the server's load, live: python examples/sse_page.py"""

import asyncio
import os

import blazeio as io

EVERY_S = float(os.environ.get("EVERY_S", "1"))
POLICY = "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"

web = io.App(
    "127.0.0.1",
    8000,
    headers=io.security_headers(content_security_policy=POLICY),
)

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Load</title>
<h1 id="now">?</h1>
<ol id="before"></ol>
<script>
const events = new EventSource("/events") // it comes back by itself
events.addEventListener("load", event => {
  const load = JSON.parse(event.data)
  now.textContent = load.one.toFixed(2)
  const line = document.createElement("li")
  line.textContent = `${load.at}: ${load.one.toFixed(2)}`
  before.prepend(line)
  while (before.children.length > 20) before.lastChild.remove()
})
events.onerror = () => { now.textContent = "?" }
</script>
"""


@web.route.get("/")
async def page(r):
    await io.Deliver.html(r, PAGE)


@web.route.get("/events")
async def events(r):
    number = int(r.headers.get("last-event-id", "0"))
    async with io.EventStream(r, retry_ms=500) as stream:
        while not r.draining:  # the service ends, or its code is reloaded
            number += 1
            one, five, _ = os.getloadavg()
            load = {"at": number, "one": one, "five": five}
            await stream.send(load, event="load", event_id=str(number))
            await asyncio.sleep(EVERY_S)


if __name__ == "__main__":
    web.runner()
