"""The public names of ``import blazeio as io``, imported at the first use of one.

``io.loop`` is not among them: it is made when it is looked at.
"""

from blazeio.app.app import App, security_headers
from blazeio.app.deliver import Deliver, EventStream, Prepare, Templates
from blazeio.app.forms import Form, Upload
from blazeio.app.middleware import (
    CookieSessions,
    Cors,
    RequestIdFilter,
    Tracing,
)
from blazeio.app.request import Request
from blazeio.app.runner import asgi
from blazeio.client.auth import DigestAuth
from blazeio.client.cookies import Cookie, CookieJar
from blazeio.client.pool import PoolLimits
from blazeio.client.response import ClientResponse
from blazeio.client.session import Session
from blazeio.client.settings import ClientTls, Timeouts
from blazeio.content.parsers import ServerSentEvent
from blazeio.errors import (
    Abort,
    BlazeioError,
    ClientDisconnected,
    ConfigurationError,
    ConnectError,
    ContentDecodingError,
    DecompressionBombError,
    InvalidResponse,
    LocalProtocolError,
    ProtocolError,
    RedirectError,
    RemoteProtocolError,
    RequestError,
    RequestTimeout,
    ServerDisconnected,
    StatusError,
    TooManyRedirects,
)
from blazeio.files.static_cache import IN_MEMORY_STATIC_CACHE
from blazeio.files.static_server import Simpleserve, StaticServer
from blazeio.limits import Limits
from blazeio.protocol.payload import BlazeioPayloadUtils
from blazeio.protocol.process import use_loop
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.toolset import ExtraToolset
from blazeio.server.tls import TlsSettings
from blazeio.websocket.websocket import ClientWebSocket, WebSocket

__all__ = [  # noqa: RUF022 - in the plain order of the alphabet
    "Abort",
    "App",
    "BlazeioError",
    "BlazeioPayloadUtils",
    "BlazeioServerProtocol",
    "ClientDisconnected",
    "ClientResponse",
    "ClientTls",
    "ClientWebSocket",
    "ConfigurationError",
    "ConnectError",
    "ContentDecodingError",
    "Cookie",
    "CookieJar",
    "CookieSessions",
    "Cors",
    "DecompressionBombError",
    "Deliver",
    "DigestAuth",
    "EventStream",
    "ExtraToolset",
    "Form",
    "IN_MEMORY_STATIC_CACHE",
    "InvalidResponse",
    "Limits",
    "LocalProtocolError",
    "PoolLimits",
    "Prepare",
    "ProtocolError",
    "RedirectError",
    "RemoteProtocolError",
    "Request",
    "RequestError",
    "RequestIdFilter",
    "RequestTimeout",
    "ServerDisconnected",
    "ServerSentEvent",
    "Session",
    "Simpleserve",
    "StaticServer",
    "StatusError",
    "Templates",
    "Timeouts",
    "TlsSettings",
    "TooManyRedirects",
    "Tracing",
    "Upload",
    "WebSocket",
    "asgi",
    "security_headers",
    "use_loop",
]
