"""From a request to what an app is told of it: ASGI's scope, WSGI's environ. Pure.

ASGI 3.0, HTTP & WebSocket message format 2.5. Each request has a scope of its own,
with its own ``asgi``, ``headers``, ``state`` and ``extensions``: apps change all of
them, and what one request changes must not show in the next.

The fields are asked for by each request and mostly the same as before: the octets of a
shared pair (a browser's Accept, never a cookie or a token) are kept by the pair, and
the whole list by its ``Headers``. Who asks gets a list of its own, since
middlewares append to it.

Of a connection by TLS, ``extensions`` says what was agreed (ASGI TLS Extension 0.2).

``environ`` (PEP 3333): a request and its connection as texts.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from blazeio.wire.grammar import SHARED_NAMES, BoundedCache
from blazeio.wire.headers import Headers
from blazeio.wire.request import RequestHead

Scope = dict[str, Any]
Pair = tuple[bytes, bytes]

ASGI_VERSION: Final = "3.0"
SPEC_VERSION: Final = "2.5"
"""From 2.4 on a server raises OSError from ``send`` when the client is lost, and
frameworks stream without a second task that waits for the disconnect."""

_WEBSOCKET_SCHEMES: Final = {"http": "ws", "https": "wss"}


class ConnectionFacts(Struct, frozen=True, gc=False):
    """What a connection says of each of its requests.

    Attributes:
        http_version: ``1.0``, ``1.1`` or ``2``.
        scheme: ``http`` or ``https``, as the client has asked.
        client: Address and port; None where it is not known.
        server: Address and port, or a path and None; None where it is not known.
    """

    http_version: str
    scheme: str
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None


def make_http_scope(
    head: RequestHead,
    facts: ConnectionFacts,
    root_path: str,
    state: dict[str, Any],
    extensions: dict[str, Any],
) -> Scope:
    """Return the scope of an HTTP request.

    Args:
        head: Of the request.
        facts: Of its connection.
        root_path: What a proxy took away in front of the path, ``/api``, or what the
            app is mounted below; "" for nothing.
        state: What the app's lifespan has left; copied, not deeply.
        extensions: What is announced; the caller's own, given to the scope.
    """
    # Hot: runs once per request. To copy the scope of an equal request takes 0.7x.
    known = _cached_scopes.recent.get(id(head))
    if known is not None and known[0] is head and known[1] == root_path:
        scope = known[2].copy()
        scope["asgi"] = {"version": ASGI_VERSION, "spec_version": SPEC_VERSION}
        scope["http_version"] = facts.http_version
        scope["scheme"] = facts.scheme
        scope["headers"] = scope["headers"].copy()
        scope["client"] = facts.client
        scope["server"] = facts.server
        scope["state"] = state.copy()
        scope["extensions"] = extensions
        return scope
    scope = _make_scope(head, facts, root_path, state, extensions)
    if (
        not head.query
        and head.end <= _LONGEST_KEPT_HEAD_BYTES
        and id(head.headers) in _cached_lists.recent  # so nothing of one client alone
    ):
        _keep_scope(head, root_path, scope, is_known=known is not None)
    return scope


def _keep_scope(
    head: RequestHead, root_path: str, scope: Scope, *, is_known: bool
) -> None:
    """Keep a scope, where its head has come before; else note that it has come."""
    kept: Scope = {}
    root: str | None = None
    if is_known:
        kept = {**scope, "headers": scope["headers"].copy()}
        kept.update(dict.fromkeys(_OWN_KEYS))
        root = root_path
    _cached_scopes.keep(id(head), (head, root, kept))


_OWN_KEYS: Final = ("asgi", "scheme", "client", "server", "state", "extensions")
"""What of a scope is not of its head, but of its connection or this request."""
_LONGEST_KEPT_HEAD_BYTES: Final = 1024


def _make_scope(
    head: RequestHead,
    facts: ConnectionFacts,
    root_path: str,
    state: dict[str, Any],
    extensions: dict[str, Any],
) -> Scope:
    path, target, query = head.path, head.target, head.query
    if "%" not in target and target[:1] == "/":  # as most are; 0.1 us less
        raw_path = path.encode()
    else:
        raw_path = find_raw_path(target, path)
    if root_path and not is_below(path, root_path):
        # ``path`` includes ``root_path``, although the proxy has taken it away: as
        # uvicorn has it, and as Starlette's routing expects it.
        path = root_path + path
        raw_path = quote(root_path, safe=_UNQUOTED).encode("ascii") + raw_path
    return {
        "type": "http",
        "asgi": {"version": ASGI_VERSION, "spec_version": SPEC_VERSION},
        "http_version": facts.http_version,
        "method": head.method,
        "scheme": facts.scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": query.encode("ascii") if query else b"",
        "root_path": root_path,
        "headers": encode_fields(head.headers),
        "client": facts.client,
        "server": facts.server,
        "state": state.copy(),
        "extensions": extensions,
    }


def make_websocket_scope(
    head: RequestHead,
    facts: ConnectionFacts,
    root_path: str,
    state: dict[str, Any],
    extensions: dict[str, Any],
) -> Scope:
    """Return the scope of a WebSocket connection; arguments as of HTTP."""
    scope = make_http_scope(head, facts, root_path, state, extensions)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = _WEBSOCKET_SCHEMES[facts.scheme]
    scope["subprotocols"] = list_subprotocols(head.headers)
    return scope


def make_lifespan_scope(state: dict[str, Any]) -> Scope:
    """Return the scope of the app's lifespan; ``state`` is what it fills."""
    versions = {"version": ASGI_VERSION, "spec_version": "2.0"}
    return {"type": "lifespan", "asgi": versions, "state": state}


def list_subprotocols(headers: Headers) -> list[str]:
    """List what a client would speak over a WebSocket, the best first.

    RFC 6455 section 11.3.4: the field may be sent several times.
    """
    values = headers.get_all("sec-websocket-protocol")
    words = [word.strip(" \t") for value in values for word in value.split(",")]
    return [word for word in words if word]


# RFC 3986 section 3.3: what a path holds as it is.
_UNQUOTED: Final = "/!$&'()*+,;=:@-._~"


def find_raw_path(target: str, path: str) -> bytes:
    """The path of a target as it was sent, without the query."""
    if "?" in target:
        target = target.partition("?")[0]
    if target[:1] != "/" and path[:1] == "/":  # absolute-form
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target.encode("ascii")


def is_below(path: str, root_path: str) -> bool:
    """Tell whether a request has the prefix that a proxy usually takes away."""
    return path.startswith(root_path) and path[len(root_path) :][:1] in ("", "/")


_VERSIONS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_SUITE_BITS: Final = 0xFFFF
"""OpenSSL puts the protocol above the number of IANA's registry."""

# RFC 4514 section 3: attribute types that have a short name; the others are written
# as OpenSSL calls them.
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_ESCAPED: Final = frozenset('"+,;<>\\')


def describe_tls(tls: ssl.SSLObject) -> dict[str, Any]:
    """Return the value of ``extensions["tls"]``."""
    certificate = tls.getpeercert(binary_form=True)
    subject = tls.getpeercert() or {}
    return {
        "server_cert": None,
        # The client's own certificate alone: ``ssl`` tells neither the rest of the
        # chain before Python 3.13, nor the certificate that we have shown.
        "client_cert_chain": _list_chain(certificate),
        "client_cert_name": write_name(subject) if certificate else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(tls.version() or ""),
        "cipher_suite": _find_suite(tls),
    }


def _list_chain(certificate: bytes | None) -> list[str]:
    return [] if certificate is None else [ssl.DER_cert_to_PEM_cert(certificate)]


def _find_suite(tls: ssl.SSLObject) -> int | None:
    agreed = tls.cipher()
    if agreed is None:
        return None
    # The connection tells the suite by its name alone; the number is found among those
    # that the context has.
    for suite in tls.context.get_ciphers():
        if suite["name"] == agreed[0]:
            return int(suite["id"]) & _SUITE_BITS
    return None


def write_name(certificate: Mapping[str, Any]) -> str:
    """Write the subject of a certificate as RFC 4514 has it, the last part first.

    Args:
        certificate: As ``getpeercert`` gives it.
    """
    names = certificate.get("subject", ())
    return ",".join("+".join(_write_part(*each) for each in rdn) for rdn in names[::-1])


def _write_part(kind: str, value: str) -> str:
    return f"{_SHORT_NAMES.get(kind, kind)}={_escape(value)}"


def _escape(value: str) -> str:
    """RFC 4514 section 2.4."""
    escaped = "".join(f"\\{each}" if each in _ESCAPED else each for each in value)
    escaped = escaped.replace("\0", "\\00")
    if escaped[:1] in (" ", "#"):
        escaped = "\\" + escaped
    if len(value) > 1 and value.endswith(" "):
        escaped = escaped[:-1] + "\\ "
    return escaped


# From a shared pair to its octets; the pairs are those that the parser keeps.
_cached_pairs: Final[BoundedCache[tuple[str, str], Pair]] = BoundedCache(1024)
# From a ``Headers``, of which one serves many equal requests, to all of it. By its
# identity, which nothing else can have as long as it is kept here.
_cached_lists: Final[BoundedCache[int, tuple[Headers, list[Pair]]]] = BoundedCache(256)
# From a head that many equal requests share to their ``root_path``, which is None until
# it has come twice, and their scope.
_cached_scopes: Final[BoundedCache[int, tuple[RequestHead, str | None, Scope]]] = (
    BoundedCache(128)
)
_LONGEST_VALUE_CHARS: Final = 256
_MOST_KEPT_FIELDS: Final = 32


def encode_fields(headers: Headers) -> list[Pair]:
    """Return the fields of a request as octets, names in lower case, as a new list."""
    # Hot: runs once per request.
    known = _cached_lists.recent.get(id(headers))
    if known is not None and known[0] is headers:
        return known[1].copy()
    pairs = headers.as_tuple()
    encoded: list[Any] = list(map(_cached_pairs.recent.get, pairs))
    if encoded and encoded[-1] is None:  # a browser's Cookie, which is never kept
        encoded[-1] = _encode_pair(pairs[-1])
    elif all(encoded):
        if len(encoded) <= _MOST_KEPT_FIELDS:
            _cached_lists.keep(id(headers), (headers, encoded))
        return encoded.copy()
    if not all(encoded):  # to look at each takes as long as all the rest
        for at, octets in enumerate(encoded):
            if octets is None:
                encoded[at] = _encode_pair(pairs[at])
    return encoded


def _encode_pair(pair: tuple[str, str]) -> Pair:
    name, value = pair
    if name not in SHARED_NAMES:
        return name.encode(), value.encode("latin-1")
    known = _cached_pairs.recall(pair)
    if known is None:
        known = name.encode(), value.encode("latin-1")
        # Whatever clients send, 2,048 of them are no more than a megabyte or two.
        if len(value) <= _LONGEST_VALUE_CHARS:
            _cached_pairs.keep(pair, known)
    return known


SERVER_SOFTWARE: Final = "blazeio"

# From a name in lower case to its variable; "" for one that must not become one.
_cached_names: Final[BoundedCache[str, str]] = BoundedCache(256)
_LONGEST_NAME_BYTES: Final = 64


def make_environ(
    head: RequestHead, facts: ConnectionFacts, root_path: str
) -> dict[str, Any]:
    """Return the variables of a request, without those of ``wsgi.``.

    A field whose name holds an underscore becomes no variable: it would pose as the
    one with a hyphen (``X_Forwarded_For``).

    Args:
        head: Of the request.
        facts: Of its connection.
        root_path: What a proxy took away in front of the path, or what the app is
            mounted below.
    """
    # Hot: runs once per request.
    client, server = facts.client, facts.server
    host, port = _name_server(server, facts.scheme)
    path, target = head.path, head.target
    environ = {
        "REQUEST_METHOD": head.method,
        # Every text of an environ stands for octets, one by one as latin-1 (PEP 3333,
        # "Unicode Issues"). The framework decodes them as UTF-8.
        "SCRIPT_NAME": root_path and root_path.encode().decode("latin-1"),
        "PATH_INFO": (
            path
            if not root_path and path.isascii()
            else _find_path_info(head, root_path)
        ),
        "QUERY_STRING": head.query,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/" + facts.http_version,
        "SERVER_SOFTWARE": SERVER_SOFTWARE,
        "REMOTE_ADDR": "" if client is None else client[0],
        "REMOTE_PORT": "" if client is None else str(client[1]),
    }
    _add_fields(environ, head.headers)
    return environ


def move_prefix(environ: dict[str, Any], prefix: str) -> None:
    """Move the beginning of the path to what is in front of the app.

    Args:
        environ: Whose path begins with the prefix.
        prefix: Where the app is mounted.
    """
    octets = prefix.encode().decode("latin-1")
    environ["SCRIPT_NAME"] += octets
    environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(octets)


def _add_fields(environ: dict[str, Any], headers: Headers) -> None:
    """Repeated fields are joined by a comma, cookies as RFC 6265 section 5.4 has it."""
    recent = _cached_names.recent
    for name, value in headers.as_tuple():
        variable = recent.get(name)
        if variable is None:
            variable = _find_variable(name)
        if not variable:
            continue
        if variable in environ:
            separator = "; " if name == "cookie" else ","
            value = f"{environ[variable]}{separator}{value}"
        environ[variable] = value


def _find_variable(name: str) -> str:
    known = _cached_names.recall(name)
    if known is None:
        known = name.upper().replace("-", "_")
        if "_" in name:
            known = ""
        elif name not in ("content-type", "content-length"):
            known = "HTTP_" + known
        if len(name) <= _LONGEST_NAME_BYTES:
            _cached_names.keep(name, known)
    return known


def _find_path_info(head: RequestHead, root_path: str) -> str:
    """The path below the app: its decoded octets as latin-1."""
    path = head.path
    if root_path and is_below(path, root_path):
        path = path[len(root_path) :]
        if path.isascii():
            return path
        raw = unquote_to_bytes(find_raw_path(head.target, head.path))
        return raw[len(root_path.encode()) :].decode("latin-1")
    if path.isascii():
        return path
    raw = find_raw_path(head.target, head.path)
    return unquote_to_bytes(raw).decode("latin-1")


def _name_server(server: tuple[str, int | None] | None, scheme: str) -> tuple[str, str]:
    """Name and port are never empty (PEP 3333, "environ Variables")."""
    usual = "443" if scheme == "https" else "80"
    if server is None:
        return "localhost", usual
    host, port = server
    return host, usual if port is None else str(port)
