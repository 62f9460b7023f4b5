"""``ExtraToolset``: compression, cookies, addresses and more, for ``r``.

It has no state of its own: it reads and changes that of the request and its response.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blazeio.content import codings
from blazeio.content.field_values import serialize_set_cookie
from blazeio.errors import LocalProtocolError
from blazeio.protocol.carrier import find_authority, find_peer, find_scheme
from blazeio.protocol.options import FindOptions, HeadHook, find_default_options
from blazeio.protocol.payload import AT_ONCE_BYTES
from blazeio.wire.heads import split_list
from blazeio.wire.proxy_protocol import Endpoint

if TYPE_CHECKING:
    from blazeio.protocol.carrier import RequestCarrier
    from blazeio.protocol.context import ServerContext
    from blazeio.protocol.response_writer import ResponseWriter
    from blazeio.protocol.tls import TlsFacts
    from blazeio.wire.headers import Headers


# The id of a request: what a proxy has called it, or one of our own
#
# Proxies send it as X-Request-ID; there is no RFC for it. It stands in logs and in
# responses to errors, so what comes from outside is taken only from a proxy that is
# trusted, and only where it cannot be taken for something else there.


REQUEST_ID_CHARS = 128
"""Longer ids are replaced by one of our own; a UUID has 36 characters."""
REQUEST_ID_BYTES = 16
"""The randomness in an id of our own, as in a UUID; written as hexadecimal digits."""
_ID_FIELD = "x-request-id"
_ACCEPTED = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{REQUEST_ID_CHARS}}}")
"""What UUIDs, ULIDs, W3C trace ids, base64 and proxies' own forms consist of. No
blank, quote or line end: it goes into logs as it is."""
_ID = "request_id"
"""Where ``r.store`` keeps the id: a request that nobody asks for it pays nothing."""


def accept_request_id(value: str | None) -> str | None:
    """Return an id from outside where it is one; None: make an own."""
    if value is None or _ACCEPTED.fullmatch(value) is None:
        return None
    return value


def make_request_id() -> str:
    """Make an id that no other request has, here or on another machine."""
    return os.urandom(REQUEST_ID_BYTES).hex()


class ServedApp:
    """What a request asks the app that serves it; these are the answers of none.

    Whatever only the ``App`` knows comes to ``r``, and to the log, by this one object,
    which is ``r.context.app``: to add something, add a method here, and the one that
    overrides it to ``app/app.py``.

    Args:
        find_options: Returns the options of the route of a method and path; a function
            of its own, since each request with content asks it.
    """

    __slots__ = ("find_options",)

    def __init__(self, find_options: FindOptions = find_default_options) -> None:
        self.find_options = find_options

    def find_route(self, method: str, path: str) -> str | None:
        """Return the path of the route of a request, as it was declared."""
        return None

    def name_handler(self, method: str, path: str) -> str:
        """Return the name of the handler, and where it is defined, for the log."""
        return "the handler"

    def make_url(self, name: str, params: Mapping[str, Any]) -> str:
        """Return the path of a route, without ``root_path``, by name and parameters.

        Raises:
            LocalProtocolError: There is no such route, or a parameter cannot be.
        """
        raise LocalProtocolError(f"url_for({name!r}): there are no routes")


class ExtraToolset:
    """What handlers often need beside streaming."""

    __slots__ = ()

    if TYPE_CHECKING:
        transport: asyncio.Transport

        response: ResponseWriter
        carrier: RequestCarrier
        context: ServerContext
        headers: Headers
        method: str
        path: str
        store: dict[str, Any]
        tail: str

    async def br(self, data: bytes) -> bytes:
        """Compress with Brotli; off the loop when large."""
        if len(data) <= AT_ONCE_BYTES:
            return codings.br(data)
        return await asyncio.to_thread(codings.br, data)

    async def gzip(self, data: bytes) -> bytes:
        """Compress with gzip; off the loop when large."""
        if len(data) <= AT_ONCE_BYTES:
            return codings.gzip(data)
        return await asyncio.to_thread(codings.gzip, data)

    def set_cookie(self, name: str, value: str, **attributes: Any) -> None:
        """Add a Set-Cookie field to the head that was not sent yet.

        Args:
            name: A token (RFC 6265 section 4.1.1).
            value: Quoted where it must be.
            attributes: Those of
                :func:`blazeio.content.field_values.serialize_set_cookie`.

        Raises:
            LocalProtocolError: The head has been prepared, or the cookie is
                malformed.
        """
        self.response.add_field(
            "Set-Cookie", serialize_set_cookie(name, value, **attributes)
        )

    def add_header(self, name: str, value: str, *, unless_given: bool = False) -> None:
        """Add a field to the head that was not sent yet, whatever the response is.

        Errors, 404, files and streams have it as well. So a middleware adds a field to
        all responses.

        Args:
            name: Of the field.
            value: Latin-1, without control characters.
            unless_given: Add it only where the response has no field of its name.

        Raises:
            LocalProtocolError: The head has been prepared, or the field is
                malformed.
        """
        fields = self.response.add_fields(name)
        if unless_given:
            fields.set_default(name, value)
        else:
            fields.add(name, value)

    def on_head(self, hook: HeadHook) -> None:
        """Call a function for further fields when the head is composed.

        Args:
            hook: Called with the status; returns fields as ``prepare`` takes them, or
                None. It holds for this request alone. What it raises is an error of the
                handler.

        Raises:
            LocalProtocolError: The head has been prepared.
        """
        self.response.add_fields("on_head").add_hook(hook)

    # Names of the request: for logs, metrics and traces

    @property
    def id(self) -> str:
        """What this request is called in logs; the same each time it is asked.

        The ``X-Request-ID`` of a trusted proxy, if it is a usable one; else an id of
        our own, made when it is first asked: 32 hexadecimal digits.
        """
        known: str | None = self.store.get(_ID)
        if known is None:
            origin = self.carrier.origin
            told = None
            if origin is not None and origin.is_trusted:
                told = accept_request_id(self.headers.get(_ID_FIELD))
            known = self.store[_ID] = told or make_request_id()
        return known

    @property
    def route(self) -> str | None:
        """The path of the route as the app has declared it; None: there is none.

        ``/users/{id:int}`` for ``/users/7``: a name for metrics and traces, of which
        there are few.
        """
        return self.context.app.find_route(self.method, self.path)

    # The client: the peer of the connection, or whom a trusted proxy names

    @property
    def client(self) -> Endpoint:
        """The client's address and port.

        ``("", 0)`` over a unix socket; the port is 0 where a proxy does not tell it.
        """
        if self.carrier.origin is None:
            return find_peer(self.transport)
        client = self.carrier.origin.find_client(self.headers)
        return Endpoint(client.host, client.port)

    @property
    def scheme(self) -> str:
        """The scheme by which the client asked: ``http`` or ``https``."""
        if self.carrier.origin is None:
            return find_scheme(self.transport)
        return self.carrier.origin.find_client(self.headers).scheme

    @property
    def root_path(self) -> str:
        """What a proxy has taken away in front of ``path``; links begin with it."""
        return self.context.root_path

    def url_for(self, name: str, /, **params: Any) -> str:
        """Make the path of a route: ``r.url_for("user", id=7)`` is ``/users/7``.

        Args:
            name: As given to ``add_route``; else the name of the handler.
            params: A value for each parameter of the path; the others become the
                query.

        Raises:
            LocalProtocolError: There is no such route, or several; a parameter is
                missing or not of its kind. The caller's fault.
        """
        return self.root_path + self.context.app.make_url(name, params)

    @property
    def is_secure(self) -> bool:
        """Whether the client has asked over TLS, us or a trusted proxy."""
        return self.scheme == "https"

    @property
    def tls(self) -> "TlsFacts | None":
        """What was agreed on this connection; None where it has no TLS."""
        facts: TlsFacts | None = self.transport.get_extra_info("tls_facts")
        return facts

    @property
    def authority(self) -> str:
        """``host[:port]`` as the client named us; "" in HTTP/1.0 if it did not."""
        if self.carrier.origin is not None:
            told = self.carrier.origin.find_client(self.headers).authority
            if told:
                return told
        return find_authority(self.method, self.tail, self.headers)

    @property
    def upgrade(self) -> str | None:
        """The protocols that the client would rather speak (RFC 9110 section 7.8).

        None in HTTP/1.0 and without ``Connection: upgrade``: then Upgrade is to be
        ignored.
        """
        options = split_list(self.headers.get_all("connection"))
        if self.response.minor == 0 or "upgrade" not in options:
            return None
        return self.headers.get("upgrade")

    @property
    def ip_host(self) -> str:
        """The client's address; "" over a unix socket."""
        return self.client.host

    @property
    def ip_port(self) -> int:
        """The client's port; 0 where it is not known."""
        return self.client.port
