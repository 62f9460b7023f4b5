from dataclasses import dataclass
from typing import Annotated

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body
from litestar.response import Redirect, Stream


@dataclass
class Item:
    name: str
    price: float


@get("/")
async def root() -> dict[str, str]:
    return {"hello": "world"}


@get("/items/{number:int}")
async def item(number: int, q: str | None = None) -> dict[str, object]:
    return {"number": number, "q": q}


@post("/items")
async def create(data: Item) -> Item:
    return data


@post("/upload")
async def upload(
    data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, object]:
    return {"name": data.filename, "size": len(await data.read())}


@get("/missing")
async def missing() -> None:
    raise NotFoundException("no such thing")


@get("/stream")
async def stream() -> Stream:
    async def parts():
        for number in range(20):
            yield f"{number}\n"

    return Stream(parts(), media_type="text/plain")


@get("/redirect")
async def redirect() -> Redirect:
    return Redirect("/")


@get("/sync", sync_to_thread=True)
def sync() -> str:
    return "in a thread"


@get("/state")
async def state(request: Request) -> dict[str, str]:
    return {"path": request.url.path}


@websocket("/ws")
async def ws(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_data():
        await socket.send_json({"got": text})


app = Litestar(
    [root, item, create, upload, missing, stream, redirect, sync, state, ws],
    openapi_config=None,
)
