"""URLs of http and https, taken apart once and kept.

May import: blazeio.client.rules, blazeio.errors, blazeio.wire.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from blazeio.client.rules.basic import basic_credentials
from blazeio.client.rules.proxies import Proxy
from blazeio.errors import InvalidUrl
from blazeio.wire.fields.memo import Memo
from blazeio.wire.serializer import serialize_field
from blazeio.wire.target import is_host

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# RFC 3986 section 3.3 and 3.4; what is escaped stays so. The rest is what
# browsers leave as it is (WHATWG URL, path and query percent-encode sets).
_SAFE: Final = "/:@!$&'()*+,;=-._~%?[]|^\\"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Origin(NamedTuple):
    """Who is asked: connections to one origin are alike.

    Attributes:
        scheme: ``http`` or ``https``.
        host: In lower case, without brackets; A-labels.
        port: Of TCP.
        unix: Path of a socket that is connected to instead; None: TCP.
        proxy: It is reached through; None: directly.
    """

    scheme: str
    host: str
    port: int
    unix: str | None = None
    proxy: Proxy | None = None

    def __str__(self) -> str:
        where = f"{self.scheme}://{self.authority}"
        if self.is_forwarding:
            return f"proxy {where}"
        between = self.unix or self.proxy
        return f"{where} by {between}" if between else where

    @property
    def authority(self) -> str:
        """``host:port``, as a proxy is told (RFC 9112 section 3.2.3)."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def is_forwarding(self) -> bool:
        """It is a proxy, to be asked by absolute URLs (RFC 9112 section 3.2.2).

        Everything of http goes through it on the same connections.
        """
        return self.scheme == "http" and self.proxy is not None and self.proxy.is_http

    @property
    def proxy_lines(self) -> bytes:
        """The field lines that a proxy is to read."""
        authorization = None if self.proxy is None else self.proxy.authorization
        if authorization is None:
            return b""
        return serialize_field("Proxy-Authorization", authorization)


class Url:
    """A URL, ready to be asked for.

    Attributes:
        text: As it was written, without its fragment and userinfo.
        origin: Who is asked.
        authority: ``host[:port]``, for Host; no default port.
        target: In origin-form, ASCII.
        authorization: Value of Authorization, of its userinfo; None: none.
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
        host = _bracketed(origin.host)
        self.origin = origin
        self.authority = host if is_usual else f"{host}:{origin.port}"
        self.target = target
        self.authorization = authorization
        self.text = f"{origin.scheme}://{self.authority}{target}"
        start = f" {target} HTTP/1.1\r\nHost: {self.authority}\r\n"
        self.request_start = start.encode("ascii")

    @property
    def absolute_start(self) -> bytes:
        """``request_start`` for a proxy: RFC 9112 section 3.2.2."""
        return (
            b" "
            + self.text.encode("ascii")
            + self.request_start[1 + len(self.target) :]
        )

    def __repr__(self) -> str:
        return f"<Url {self.text}>"

    def __str__(self) -> str:
        return self.text

    def with_query(self, query: str) -> "Url":
        """The same with more in its query.

        Args:
            query: Percent-encoded; follows what is there.
        """
        if not query:
            return self
        separator = "&" if "?" in self.target else "?"
        target = f"{self.target}{separator}{query}"
        return Url(self.origin, target, self.authorization)


# A program asks the same URLs again and again: 0.05 us instead of 12.
_kept_urls: Final[Memo[str, Url]] = Memo(256)


def parse_url(text: str) -> Url:
    """Take a URL apart.

    Characters that a URL cannot hold are escaped, as browsers do; a fragment is
    dropped.

    Raises:
        InvalidUrl: The caller's fault: it is no absolute URL of http or https.
    """
    url = _kept_urls.recent.get(text) or _kept_urls.recall(text)
    if url is None:
        url = _parse(text)
        _kept_urls.keep(text, url)
    return url


def _parse(text: str) -> Url:
    if not isinstance(text, str):
        raise InvalidUrl(f"a URL is a str, not {type(text).__name__}")
    text = text.strip()
    if _CONTROL.search(text) is not None:  # urlsplit would drop some of them
        raise InvalidUrl(f"URL {_shown(text)}: it holds a control character")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl(f"URL {_shown(text)}: {error}") from None
    scheme = parts.scheme
    if scheme not in _DEFAULT_PORTS:
        message = f"URL {_shown(text)}: expected http://host/... or https://host/..."
        raise InvalidUrl(message)
    host = _encode_host(parts.hostname or "", text)
    path = quote(parts.path, safe=_SAFE.replace("?", "")) or "/"
    query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    target = path + query
    if not target.startswith("/"):
        raise InvalidUrl(f"URL {_shown(text)}: its path does not begin with /")
    origin = Origin(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port)
    return Url(origin, target, _read_userinfo(parts.username, parts.password))


def _encode_host(host: str, text: str) -> str:
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise InvalidUrl(f"URL {_shown(text)}: {error}") from None
    if not is_host(_bracketed(host)):
        what = f"{host!r} is no host" if host else "it has no host"
        raise InvalidUrl(f"URL {_shown(text)}: {what}")
    return host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _read_userinfo(name: str | None, password: str | None) -> str | None:
    """RFC 7617: what is before the @, as Basic credentials."""
    if name is None and password is None:
        return None
    return basic_credentials(unquote(name or ""), unquote(password or ""))


def _shown(text: str) -> str:
    """Show a URL without what may be a password."""
    before, at, after = text.partition("@")
    if at and "/" not in before.partition("://")[2]:
        text = f"{before.partition('://')[0]}://...@{after}"
    return repr(text[:200])
