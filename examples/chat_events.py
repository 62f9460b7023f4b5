"""A chat over server-sent events: what is said comes by POST.

The room is in the memory of one process: run it alone, or with --workers 1.
"""

import asyncio
import secrets

import blazeio as io

web = io.App("127.0.0.1", 8000)
room = secrets.token_hex(4)  # of this process; another's events have other ids
said: list[str] = []
news = asyncio.Condition()

PAGE = """<!doctype html><title>chat</title>
<ul id=said></ul><form><input id=text autofocus></form>
<script>
new EventSource("/events").onmessage = event => {  // it comes back by itself
  const line = document.createElement("li")
  line.textContent = event.data
  said.append(line)
}
document.forms[0].onsubmit = () => {
  fetch("/say", {method: "POST", body: text.value})
  text.value = ""
  return false
}
</script>"""


@web.route.get("/")
async def page(r):
    await io.Deliver.html(r, PAGE)


@web.route.post("/say", content_bytes=1000)
async def say(r):
    said.append((await r.read()).decode(errors="replace"))
    async with news:
        news.notify_all()
    await io.Deliver.text(r, "said\n")


@web.route.get("/events")
async def events(r):
    async with io.EventStream(r, retry_ms=500) as stream:
        last_room, _, last = stream.last_event_id.partition(".")
        seen = int(last) if last_room == room else 0
        while True:
            while seen < len(said):
                seen += 1
                await stream.send(said[seen - 1], event_id=f"{room}.{seen}")
            async with news:
                while seen == len(said):
                    await news.wait()


if __name__ == "__main__":
    web.runner()
