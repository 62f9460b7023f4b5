"""The opening handshake of a WebSocket (RFC 6455 section 4.2).

May import: blazeio.errors, blazeio.protocol.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from msgspec import Struct
from websockets.datastructures import Headers
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from blazeio.errors import Abort
from blazeio.protocol.request import BlazeioServerProtocol

VERSION = "13"

WINDOW_BITS = 12
"""4 KiB to look back into, and as much of the client's: with zlib's memory level
5 some 64 KiB a connection; messages of a few KiB gain nothing from more."""


class Agreement(Struct, frozen=True):
    """What a handshake has come to.

    Attributes:
        field_lines: Of the 101 that says so.
        extensions: How frames are coded.
        subprotocol: Of the messages; None: none.
    """

    field_lines: bytes
    extensions: Sequence[Extension]
    subprotocol: str | None


def accept_handshake(
    r: BlazeioServerProtocol,
    *,
    origins: Sequence[str | None] | None = None,
    subprotocols: Sequence[str] = (),
    compress: bool = False,
) -> Agreement:
    """Check a request that wants to be a WebSocket.

    Args:
        r: The request.
        origins: Those that a browser may come from, as in its Origin field;
            None among them: whoever sends none. None: all.
        subprotocols: Known here, the best first; the client's choice of them
            is the protocol's ``subprotocol``.
        compress: Agree to permessage-deflate (RFC 7692).

    Raises:
        Abort: It is no good handshake: 400, 403, 405, 426 or 505.
    """
    judge = ServerProtocol(
        origins=cast("Sequence[Origin | None] | None", origins),
        subprotocols=[Subprotocol(each) for each in subprotocols],
        select_subprotocol=_select_subprotocol,
        extensions=[_deflate()] if compress else None,
    )
    _check_version(r)
    response = judge.accept(_as_request(r))
    if response.status_code != 101:
        _refuse(r, response)
    return Agreement(
        _field_lines(response.headers.raw_items()), judge.extensions, judge.subprotocol
    )


def _select_subprotocol(
    judge: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """RFC 6455 section 4.2.2: where none is common, none is spoken."""
    known = judge.available_subprotocols or ()
    return next((each for each in known if each in offered), None)


def _deflate() -> ServerPerMessageDeflateFactory:
    return ServerPerMessageDeflateFactory(
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
        compress_settings={"memLevel": 5},
    )


def _as_request(r: BlazeioServerProtocol) -> Request:
    headers = Headers()
    for name, value in r.headers.pairs:
        headers[name] = value
    return Request(r.tail, headers, r.method, f"HTTP/1.{r.answer.minor}")


def _check_version(r: BlazeioServerProtocol) -> None:
    """RFC 6455 section 4.4: a client of another version is told of ours."""
    version = r.headers.get("sec-websocket-version")
    if version is not None and version != VERSION:
        _offer_upgrade(r)
        message = f"WebSocket version {version} is not spoken here"
        raise Abort(message, 426, {"Sec-WebSocket-Version": VERSION})


def _refuse(r: BlazeioServerProtocol, response: Response) -> None:
    status = int(response.status_code)
    headers = {}
    if status == 426:  # RFC 9110 section 15.5.22
        _offer_upgrade(r)
        headers["Sec-WebSocket-Version"] = VERSION
    if "Allow" in response.headers:
        headers["Allow"] = response.headers["Allow"]
    message = bytes(response.body or b"").decode().split("\n")[0]
    raise Abort(message, status, headers)


def _offer_upgrade(r: BlazeioServerProtocol) -> None:
    r.answer.add_field("Connection", "Upgrade")
    r.answer.add_field("Upgrade", "websocket")


def _field_lines(fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    return "".join(lines).encode("latin-1")
