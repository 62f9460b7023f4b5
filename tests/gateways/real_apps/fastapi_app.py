import asyncio
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
)
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel

seen = []


@asynccontextmanager
async def lifespan(app):
    yield {"made": "at startup"}


app = FastAPI(lifespan=lifespan)
app.add_middleware(GZipMiddleware, minimum_size=500)
app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])


class Item(BaseModel):
    name: str
    price: float
    tags: list[str] = []


async def resource():
    seen.append("opened")
    yield "resource"
    seen.append("closed")


@app.get("/")
async def root(request: Request):
    return {"hello": "world", "state": request.state.made}


@app.get("/items/{item_id}")
async def read_item(item_id: int, q: str | None = None):
    return {"item_id": item_id, "q": q}


@app.post("/items", status_code=201)
async def create_item(item: Item):
    return item


@app.get("/missing")
async def missing():
    raise HTTPException(404, "no such thing", headers={"X-Why": "it is not there"})


@app.get("/boom")
async def boom():
    raise ValueError("a fault of the app")


@app.post("/form")
async def form(name: Annotated[str, Form()], age: Annotated[int, Form()] = 0):
    return {"name": name, "age": age}


@app.post("/upload")
async def upload(file: Annotated[UploadFile, File()]):
    content = await file.read()
    return {"name": file.filename, "type": file.content_type, "size": len(content)}


@app.get("/sync")
def in_a_thread():
    return {"in": "a thread"}


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(seen.append, "background")
    return {"queued": True}


@app.get("/dependency")
async def dependency(value: Annotated[str, Depends(resource)]):
    return {"value": value}


@app.get("/seen")
async def what_was_seen():
    for _ in range(500):
        if {"background", "closed"} <= set(seen):
            break
        await asyncio.sleep(0.01)
    return {"seen": sorted(set(seen))}


@app.get("/stream")
async def stream():
    async def parts():
        for number in range(20):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/big")
async def big():
    return {"text": "x" * 5000}


@app.get("/redirect")
async def redirect():
    return RedirectResponse("/items/1")


@app.get("/client")
async def client(request: Request):
    return {"url": str(request.url.path), "query": dict(request.query_params)}


@app.websocket("/ws")
async def websocket(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_json({"got": text})
