import asyncio
import os
import tempfile

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

FOLDER = os.path.join(tempfile.gettempdir(), "blazeio-real-apps")
os.makedirs(FOLDER, exist_ok=True)
FILE = os.path.join(FOLDER, "file.txt")
if not os.path.exists(FILE):
    with open(FILE, "w") as file:
        file.write("line\n" * 10_000)
    os.utime(FILE, (1_000_000_000, 1_000_000_000))


class Timing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["X-Middleware"] = "was here"
        return response


async def plain(request):
    return PlainTextResponse("plain", headers={"X-Path": request.url.path})


async def html(request):
    return HTMLResponse("<p>html</p>")


async def echo(request):
    body = await request.body()
    return Response(body, media_type=request.headers.get("content-type"))


async def stream_in(request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return JSONResponse({"size": size})


async def session(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(dict(request.session))


async def cookies(request):
    response = PlainTextResponse("cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    response.delete_cookie("c")
    return response


async def stream(request):
    async def parts():
        for number in range(20):
            yield b"%d\n" % number
            await asyncio.sleep(0)

    return StreamingResponse(parts(), media_type="text/plain")


async def empty(request):
    return Response(status_code=204)


async def not_modified(request):
    return Response(status_code=304, headers={"ETag": '"1"'})


async def background(request):
    return PlainTextResponse("queued", background=BackgroundTask(asyncio.sleep, 0.05))


async def file(request):
    return FileResponse(FILE)


async def disconnected(request):
    return JSONResponse({"disconnected": await request.is_disconnected()})


async def echo_socket(socket):
    await socket.accept()
    async for octets in socket.iter_bytes():
        await socket.send_bytes(octets)


async def refuse_socket(socket):
    response = PlainTextResponse("not today", status_code=418)
    await socket.send_denial_response(response)


inner = Starlette(routes=[Route("/", plain), Route("/deep", plain)])
app = Starlette(
    routes=[
        Route("/", plain),
        Route("/html", html),
        Route("/echo", echo, methods=["POST", "PUT"]),
        Route("/stream-in", stream_in, methods=["POST"]),
        Route("/session", session),
        Route("/cookies", cookies),
        Route("/stream", stream),
        Route("/empty", empty),
        Route("/not-modified", not_modified),
        Route("/redirect", lambda request: RedirectResponse("/html")),
        Route("/background", background),
        Route("/file", file),
        Route("/disconnected", disconnected),
        Mount("/inner", inner),
        Mount("/static", StaticFiles(directory=FOLDER)),
        WebSocketRoute("/ws", echo_socket),
        WebSocketRoute("/refuse", refuse_socket),
    ],
    middleware=[
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(GZipMiddleware, minimum_size=500),
        Middleware(SessionMiddleware, secret_key="secret"),
        Middleware(Timing),
    ],
)
