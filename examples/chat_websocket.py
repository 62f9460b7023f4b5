"""A chat over WebSockets: python examples/chat_websocket.py, two browser tabs.

The room is in the memory of one process: run it alone, or with --workers 1.
"""

import asyncio

import blazeio as io

web = io.App("127.0.0.1", 8000)
room: set[io.WebSocket] = set()

PAGE = """<!doctype html><title>chat</title>
<ul id=said></ul><form><input id=text autofocus> <output id=state></output></form>
<script>
function join() {
  const ws = new WebSocket(location.href.replace("http", "ws") + "chat")
  ws.onopen = () => state.textContent = "here"
  ws.onmessage = event => {
    const line = document.createElement("li")
    line.textContent = event.data
    said.append(line)
  }
  ws.onclose = event => {  // 1012: the server was reloaded
    state.textContent = `closed (${event.code}), coming back`
    setTimeout(join, 500)
  }
  document.forms[0].onsubmit = () => {
    ws.send(text.value)
    text.value = ""
    return false
  }
}
join()
</script>"""


@web.route.get("/")
async def page(r):
    await io.Deliver.html(r, PAGE)


@web.route.get("/chat")
async def chat(r):
    async with io.WebSocket(r) as ws:
        room.add(ws)
        try:
            async for message in ws:
                await say(f"{r.ip_port}: {message}")
        finally:
            room.discard(ws)


async def say(line):
    """To all; who is slow or gone does not hold up the others."""
    sending = (each.send(line) for each in room)
    await asyncio.gather(*sending, return_exceptions=True)


if __name__ == "__main__":
    web.runner()
