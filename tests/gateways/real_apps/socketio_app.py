import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
app = socketio.ASGIApp(server)


@server.event
async def connect(sid, environ):
    await server.emit("hello", {"from": "server"}, to=sid)


@server.event
async def echo(sid, data):
    return {"echo": data}
