"""The corpus' group ``websocket`` has the rules; here: what the app decides."""

import pytest

from blazeio.app.app import App
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.websocket.websocket import WebSocket
from tests.support.served import served

R = BlazeioServerProtocol
GOOD = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture
def web() -> App:
    web = App()

    @web.add_route
    async def chat(r: R) -> None:
        r.set_cookie("a", "b")
        origins = ["https://here.example", None]
        async with WebSocket(r, origins=origins, subprotocols=["v2", "v1"]):
            pass

    return web


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({}, 101, ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        ({}, 101, ("set-cookie", "a=b; Path=/; HttpOnly; SameSite=Lax")),
        ({"Origin": "https://here.example"}, 101, ("upgrade", "websocket")),
        ({"Sec-WebSocket-Protocol": "v1, v2"}, 101, ("sec-websocket-protocol", "v2")),
        ({"Origin": "https://there.example"}, 403, None),
        ({"Sec-WebSocket-Version": "8"}, 426, ("sec-websocket-version", "13")),
        ({"Upgrade": "h2c"}, 426, ("upgrade", "websocket")),
        ({"Sec-WebSocket-Key": "short"}, 400, None),
    ],
)
async def test_a_handshake_is_answered(
    web: App, changes: dict[str, str], status: int, field: tuple[str, str] | None
) -> None:
    async with served(web) as site, await site.connect() as peer:
        lines = "".join(f"{k}: {v}\r\n" for k, v in {**GOOD, **changes}.items())
        await peer.send(f"GET /chat HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
        response = await peer.read_response()
        assert response.status == status
        if field is not None:
            assert response.field(field[0]) == field[1]


async def test_a_refusal_leaves_the_connection_to_http(web: App) -> None:
    async with served(web) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(b"GET /chat HTTP/1.1\r\nHost: a\r\n\r\n")
            response = await peer.read_response()
            assert response.status == 426
