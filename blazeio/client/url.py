"""URLs of http and https: ``Url`` and ``Origin``, parsed once and cached."""

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from blazeio.client.proxy import (
    Proxy,
    basic_credentials,
    bracketed,
    read_host_port,
    strip_zone,
)
from blazeio.errors import InvalidUrl
from blazeio.wire.grammar import BoundedCache
from blazeio.wire.headers import serialize_field

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# RFC 3986 sections 3.3 and 3.4; escapes stay as they are. The rest are characters that
# browsers do not escape (WHATWG URL, path and query percent-encode sets).
_SAFE: Final = "/:@!$&'()*+,;=-._~%?[]|^\\"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# RFC 3986, appendix B.
_URL: Final = re.compile(
    r"(?:([^:/?#]*+):)?(?://([^/?#]*+))?([^?#]*+)(?:\?([^#]*+))?(?:#.*+)?"
)
# Only known schemes: in "me:secret@host", "me" is not one.
_SCHEME: Final = re.compile(r"(?i:(?:https?|wss?|ftp|file|socks5h?):)?/{0,2}")
_SHOWN_CHARS: Final = 200
_ABSOLUTE: Final = re.compile(r"[ \t]*+[A-Za-z][A-Za-z0-9+.\-]*+:")


class Origin(NamedTuple):
    """Who is connected to: all connections to one origin are interchangeable.

    Attributes:
        scheme: ``http`` or ``https``.
        host: As ``proxy.read_host`` returns it: lower-case A-labels, or an address
            without brackets; an IPv6 address may have a zone.
        port: The TCP port.
        unix: The path of a socket that is connected to instead; None: TCP.
        proxy: The proxy that leads there; None: it is connected to directly.
    """

    scheme: str
    host: str
    port: int
    unix: str | None = None
    proxy: Proxy | None = None

    def __str__(self) -> str:
        where = f"{self.scheme}://{self.authority}"
        if self.is_forwarding:
            return f"proxy {self.proxy}"
        between = self.unix or self.proxy
        return f"{where} by {between}" if between else where

    @property
    def authority(self) -> str:
        """``host:port``, as a proxy is told it (RFC 9112 section 3.2.3)."""
        return f"{bracketed(strip_zone(self.host))}:{self.port}"

    @property
    def is_forwarding(self) -> bool:
        """Whether it is a proxy that is asked by absolute URLs.

        All requests of http go through it on the same connections.
        """
        return self.scheme == "http" and self.proxy is not None and self.proxy.is_http

    @property
    def proxy_lines(self) -> bytes:
        """The field lines for the proxy."""
        authorization = None if self.proxy is None else self.proxy.authorization
        if authorization is None:
            return b""
        return serialize_field("Proxy-Authorization", authorization)


class Url:
    """A URL, ready for a request.

    Attributes:
        text: As it was written, without its fragment and userinfo.
        origin: Who is connected to.
        authority: ``host[:port]``, for Host; without a default port.
        target: The request target in origin-form, ASCII.
        authorization: The value of Authorization for its userinfo; None: it has none.
        request_start: The request line after its method, and Host.
    """

    __slots__ = (
        "authority",
        "authorization",
        "origin",
        "request_start",
        "target",
        "text",
    )

    def __init__(self, origin: Origin, target: str, authorization: str | None) -> None:
        is_usual = origin.port == _DEFAULT_PORTS[origin.scheme]
        port = "" if is_usual else f":{origin.port}"
        self.origin = origin
        self.authority = f"{bracketed(strip_zone(origin.host))}{port}"
        self.target = target
        self.authorization = authorization
        self.text = f"{origin.scheme}://{bracketed(origin.host)}{port}{target}"
        start = f" {target} HTTP/1.1\r\nHost: {self.authority}\r\n"
        self.request_start = start.encode("ascii")

    @property
    def absolute_start(self) -> bytes:
        """``request_start`` for a proxy: RFC 9112 section 3.2.2."""
        absolute = f" {self.origin.scheme}://{self.authority}{self.target}"
        return absolute.encode("ascii") + self.request_start[1 + len(self.target) :]

    def __repr__(self) -> str:
        return f"<Url {self.text}>"

    def __str__(self) -> str:
        return self.text

    def with_query(self, query: str) -> "Url":
        """Return the URL with more in its query.

        Args:
            query: Percent-encoded; appended to the query that is there.
        """
        if not query:
            return self
        separator = "&" if "?" in self.target else "?"
        target = f"{self.target}{separator}{query}"
        return Url(self.origin, target, self.authorization)


# A server may redirect to a new URL of 8 KiB each time: caching 512 of them would take
# 16 MiB.
_LONGEST_CACHED_CHARS: Final = 1024
# Programs use the same URLs again and again: 0.05 us instead of 12.
_cached_urls: Final[BoundedCache[str | Url, Url]] = BoundedCache(256)


def parse_url(text: str | Url) -> Url:
    """Parse a URL; a ``Url`` is returned as it is.

    Characters that a URL cannot hold are escaped, as browsers do it; a fragment is
    dropped.

    Raises:
        InvalidUrl: The caller's fault: it is no absolute URL of http or https.
    """
    # Hot: runs once per request.
    try:
        url = _cached_urls.recent.get(text) or _cached_urls.recall(text)
    except TypeError:  # not hashable, so no str
        url = None
    if url is None:
        if isinstance(text, Url):
            return text
        if not isinstance(text, str):
            message = f"a URL is a str, not {type(text).__name__}: give str(url)"
            raise InvalidUrl(message)
        url = _parse(text)
        if len(text) <= _LONGEST_CACHED_CHARS:
            _cached_urls.keep(text, url)
    return url


def join_base(base: str, text: str | Url) -> str | Url:
    """Join a reference to the base URL of a session.

    Its path follows that of the base, with or without a slash between:
    ``https://host/v1`` and ``/users`` are ``https://host/v1/users``, as in httpx, so
    that a slash does not drop ``/v1``. An absolute URL is returned as it is.

    Args:
        base: Without query and fragment.
        text: The URL of the request.

    Raises:
        InvalidUrl: The caller's fault: it begins with ``//``, which some read as a path
            and others as a host.
    """
    if not isinstance(text, str) or _ABSOLUTE.match(text):
        return text
    if text.startswith("//"):
        message = f"URL {show_url(text)!r}: write its scheme, or one slash"
        raise InvalidUrl(message)
    if not text or text[0] in "?#":
        return base + text
    return f"{base.removesuffix('/')}/{text.removeprefix('/')}"


def _parse(text: str) -> Url:
    text = text.strip()
    if _CONTROL.search(text) is not None:
        raise InvalidUrl(f"URL {show_url(text)!r}: it holds a control character")
    match = _URL.fullmatch(text)
    assert match is not None  # it matches every text without a line end
    scheme, authority, path, query = (each or "" for each in match.groups())
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        message = (
            f"URL {show_url(text)!r}: expected http://host/... or https://host/..."
        )
        raise InvalidUrl(message)
    userinfo, _, place = authority.rpartition("@")
    try:
        if "\\" in authority:  # browsers end the host there
            raise ValueError("a backslash in its authority")
        host, port = read_host_port(place)
    except ValueError as error:
        # With an "@" anywhere, what looks like the host may be half a password.
        why = "it has no host that can be" if "@" in text else str(error)
        raise InvalidUrl(f"URL {show_url(text)!r}: {why}") from None
    target = quote(path, safe=_SAFE) or "/"
    if query:
        target += f"?{quote(query, safe=_SAFE)}"
    origin = Origin(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port)
    return Url(origin, target, _read_userinfo(userinfo) if userinfo else None)


def _read_userinfo(userinfo: str) -> str:
    """Return the userinfo as Basic credentials (RFC 7617)."""
    name, _, password = userinfo.partition(":")
    return basic_credentials(unquote(name), unquote(password))


def show_url(text: str) -> str:
    """Return a URL for an error or a ``repr``, without any userinfo.

    Where a URL is malformed nobody knows where its password ends: then all of that part
    is left out.
    """
    _, at, after = text.rpartition("@")
    scheme = _SCHEME.match(text)
    assert scheme is not None  # it may be empty
    start = scheme[0]
    if at:
        text = f"{start}...@{after}"
    else:
        # The host was forgotten: http://name:password
        place, colon, rest = text[len(start) :].partition(":")
        port = re.split(r"[/?#]", rest, maxsplit=1)[0]
        if colon and not port.isdigit() and not re.search(r"[/?#\[]", place):
            text = f"{start}{place}:..."
    return text[:_SHOWN_CHARS]
