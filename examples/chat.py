"""A chat with rooms and names: python examples/chat.py, then two browser tabs.

The rooms are in the memory of one process: run it alone, or with --workers 1.
"""

import asyncio
from collections import defaultdict

import msgspec

import blazeio as io

web = io.App("127.0.0.1", 8000)
rooms: defaultdict[str, set[io.WebSocket]] = defaultdict(set)

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<p id="people"></p>
<ul id="said"></ul>
<form><input id="text" autofocus autocomplete="off"></form>
<script>
const name = prompt("Who are you?") || "somebody"
const url = new URL(`/rooms/lobby?name=${encodeURIComponent(name)}`, location)
url.protocol = url.protocol.replace("http", "ws")
const ws = new WebSocket(url)
ws.onmessage = event => {
  const message = JSON.parse(event.data)
  people.textContent = `${message.people} here`
  const line = document.createElement("li")
  line.textContent = `${message.name}: ${message.text}`
  said.append(line)
}
document.forms[0].onsubmit = event => {
  event.preventDefault()
  ws.send(text.value)
  text.value = ""
}
</script>
"""


class Guest(msgspec.Struct):
    name: str


@web.route.get("/")
async def page(r):
    await io.Deliver.html(r, PAGE)


@web.route.get("/rooms/{room}")
async def join(r, room):
    guest = await io.Request.get_params(r, type=Guest)
    async with io.WebSocket(r) as ws:
        rooms[room].add(ws)
        try:
            await say(room, guest.name, "is here")
            async for text in ws:
                await say(room, guest.name, text)
        finally:
            rooms[room].discard(ws)
            if rooms[room]:
                await say(room, guest.name, "has left")
            else:
                del rooms[room]


async def say(room, name, text):
    """To all; who is slow or gone does not hold up the others."""
    message = {"name": name, "text": text, "people": len(rooms[room])}
    line = msgspec.json.encode(message).decode()
    sending = [each.send(line) for each in rooms[room]]
    await asyncio.gather(*sending, return_exceptions=True)


if __name__ == "__main__":
    web.runner()
