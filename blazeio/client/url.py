"""URLs of http and https, the hosts in them, and which proxy a request goes through.

``read_host`` reads a host in the one form in which hosts are compared. Names are IDNA
2008 with the mapping of UTS 46 (not transitional, as in browsers): ``Straße.de`` and
``stra%C3%9Fe.de`` are ``xn--strae-oqa.de``. Labels of ASCII stay as they are, but for
their case: ``my_service`` and ``r3---sn.example`` are in use, though IDNA would refuse
them. Each address has one form; IPv4 is read as the WHATWG URL standard does: ``127.1``
is ``127.0.0.1``, and a name that ends in a number is an error. The same function serves
request URLs, Location, proxies, NO_PROXY, WebSockets and cookies, so that no two of
them can read one host differently.

The proxy comes from variables of the environment, as curl has made them customary, read
from a mapping that the caller passes: ``http_proxy``, ``https_proxy``, ``all_proxy``
and ``no_proxy``, and all but the first in capitals too; small letters win.
``HTTP_PROXY`` is not read: in a CGI program it holds the field ``Proxy`` of the client
(CVE-2016-5385). ``no_proxy`` is a list of hosts that are connected to directly,
separated by commas or spaces: ``example.com`` (and the hosts below it, with or without
a leading dot or ``*.``), ``example.com:8080`` (that port only), addresses, networks
(``10.0.0.0/8``), and ``*`` for all.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from blazeio.content.forwarded import NOBODY, AllowList, read_address
from blazeio.errors import ConfigurationError, InvalidUrl, LocalProtocolError
from blazeio.wire.grammar import BoundedCache, is_host
from blazeio.wire.headers import serialize_field

# Hosts


LONGEST_LABEL_OCTETS: Final = 63
LONGEST_NAME_OCTETS: Final = 253
"""RFC 1035 section 2.3.4, as text and without the final dot."""
LONGEST_TEXT_CHARS: Final = 1024
"""Before percent-decoding and mapping: more than any name of 253 octets needs."""

# authority = [ userinfo "@" ] host [ ":" port ], RFC 3986 section 3.2
_PLACE: Final = re.compile(r"(?:\[([^\]]*+)\]|([^:\[\]]*+))(?::([0-9]*+))?")
_ZONE: Final = re.compile(r"[A-Za-z0-9._~\-]{1,64}")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MOST_PORT: Final = 65_535


def read_host_port(text: str) -> tuple[str, int | None]:
    """Read ``host [ ":" port ]``; userinfo is refused.

    Returns:
        The host as ``read_host`` returns it, without brackets; the port, None where
        there is none.

    Raises:
        ValueError: It is not of that form; the message says why, and quotes no more
            than the host.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        _, colon, port = text.rpartition(":")
        if colon and "[" not in port and "]" not in port and not port.isdigit():
            raise ValueError("its port is not a number from 0 to 65535")
        raise ValueError(f"{text[:64]!r} is not a host")
    address, name, port = match.groups()
    if not (address or name):
        raise ValueError("it has no host")
    if port and (len(port) > 5 or int(port) > _MOST_PORT):
        raise ValueError("Port out of range 0-65535")
    host = read_host(name) if address is None else _read_ipv6(address)
    return host, int(port) if port else None


# Programs use the same hosts again and again: 0.1 us instead of 3.
@lru_cache(maxsize=1024)
def read_host(text: str) -> str:
    """Read a host: a name, or an address with or without brackets.

    Returns:
        A name in lower-case A-labels, with its final dot if it has one; an address
        without brackets; an IPv6 address with its zone (``fe80::1%eth0``).

    Raises:
        ValueError: It is no host; the message says why, and quotes it.
    """
    if ":" in text or text.startswith("["):
        is_bracketed = text.startswith("[") and text.endswith("]")
        return _read_ipv6(text[1:-1] if is_bracketed else text)
    name = text if len(text) <= LONGEST_TEXT_CHARS else ""
    if "%" in name:
        name = unquote(name, errors="replace")
    name = name.lower() if name.isascii() else _to_ascii(name)
    if not is_host(name) or ":" in name or "%" in name:
        raise ValueError(f"{text[:64]!r} is not a host")
    _check_labels(name)
    return _read_ipv4(name) or name


def strip_final_dot(host: str) -> str:
    """Return a host without the dot that ends an absolute name.

    Where names are compared (cookies, NO_PROXY), and for certificates and SNI, whose
    names have no such dot (RFC 6066 section 3).
    """
    return host.removesuffix(".")


def strip_zone(host: str) -> str:
    """Return an address without its zone.

    RFC 6874 section 4: a zone means nothing to a peer and is not sent.
    """
    return host.partition("%")[0]


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL; a zone as RFC 6874 writes it."""
    if ":" not in host:
        return host
    address, percent, zone = host.partition("%")
    return f"[{address}%25{zone}]" if percent else f"[{address}]"


def _to_ascii(name: str) -> str:
    # Imported only where a host is not ASCII: its tables take 10 ms.
    import idna

    try:
        mapped = idna.uts46_remap(name, std3_rules=False)
        return ".".join(
            each.lower() if each.isascii() else str(idna.alabel(each), "ascii")
            for each in mapped.split(".")
        )
    except UnicodeError as error:  # idna.IDNAError is one
        raise ValueError(f"{name[:64]!r} is not a host: {error}") from None


def _check_labels(name: str) -> None:
    bare = strip_final_dot(name)
    if len(bare) > LONGEST_NAME_OCTETS:
        message = f"a host of {len(bare)} octets: at most {LONGEST_NAME_OCTETS}"
        raise ValueError(message)
    for label in bare.split("."):
        if not label:
            raise ValueError(f"{name[:64]!r} is not a host: a label of it is empty")
        if len(label) > LONGEST_LABEL_OCTETS:
            message = f"a label of more than {LONGEST_LABEL_OCTETS} octets"
            raise ValueError(f"{name[:64]!r} is not a host: {message}")


def _read_ipv4(name: str) -> str | None:
    """Read an address as the WHATWG's "IPv4 parser" does; None: it is a name."""
    parts = strip_final_dot(name).split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    *leading, last = [_read_number(each) for each in parts] if len(parts) < 5 else [-1]
    if all(0 <= each < 256 for each in leading) and (
        0 <= last < 256 ** (4 - len(leading))
    ):
        value = sum(each << 8 * (3 - place) for place, each in enumerate(leading))
        return str(IPv4Address(value + last))
    raise ValueError(f"{name[:64]!r} ends in a number, and is not an address of IPv4")


def _read_number(part: str) -> int:
    """Read one part of an address, in lower case; -1 where it is not a number."""
    if not _NUMBER.fullmatch(part):
        return -1
    if part[:2] == "0x":
        return int(part[2:] or "0", 16)
    try:
        return int(part, 8 if len(part) > 1 and part[0] == "0" else 10)
    except ValueError:
        return -1  # an 8 or 9 in an octal number


def _read_ipv6(text: str) -> str:
    """Read an address, with a zone as ``%eth0`` or, by RFC 6874, ``%25eth0``."""
    bare, percent, zone = text.partition("%")
    zone = zone.removeprefix("25")
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError(f"{text[:64]!r} has no zone that can be")
    try:
        address = IPv6Address(bare)
    except AddressValueError:
        message = f"{text[:64]!r} does not appear to be an IPv4 or IPv6 address"
        raise ValueError(message) from None
    return f"{address}%{zone}" if percent else str(address)


# Basic credentials: RFC 7617


def basic_credentials(username: str, password: str) -> str:
    """Return the value of Authorization or Proxy-Authorization, in UTF-8.

    Raises:
        LocalProtocolError: The caller's fault: the name holds a colon, after which a
            server would read the rest as the password; or one of them is no text. The
            error shows neither.
    """
    if ":" in username:
        message = "the name before a password cannot hold a colon (RFC 7617)"
        raise LocalProtocolError(message)
    try:
        pair = f"{username}:{password}".encode()
    except UnicodeEncodeError:
        message = "a name or password that UTF-8 cannot say"
        raise LocalProtocolError(message) from None
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
# host [ ":" port ], an address of IPv6 with a port in brackets
_PROXY_PLACE: Final = re.compile(r"(?:\[([^]]*)\]|([^:]*))(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: ``http``, ``https`` (HTTP over TLS), ``socks5`` or ``socks5h`` (which
            resolves names itself).
        host: As ``read_host`` returns it.
        port: Its port.
        username: "" where none is needed; ``repr`` does not show it.
        password: Likewise.
    """

    scheme: str
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    @property
    def is_http(self) -> bool:
        """Whether it speaks HTTP; else SOCKS 5."""
        return self.scheme in ("http", "https")

    @property
    def is_tls(self) -> bool:
        """Whether it is reached over TLS, whatever the server is reached by."""
        return self.scheme == "https"

    @property
    def authorization(self) -> str | None:
        """The Proxy-Authorization field: RFC 7617, UTF-8. None without a name."""
        if not self.username:
            return None
        return basic_credentials(self.username, self.password)


def parse_proxy(url: str) -> Proxy:
    """Read a proxy's URL: ``http://user:password@host:3128``.

    Without a scheme it is http; the default port is that of the scheme: 80, 443, or
    1080 for socks5. Name and password are percent-decoded.

    Raises:
        ConfigurationError: It is no URL of a proxy. The error does not quote it, since
            it may hold a password.
    """
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        userinfo, _, place = parts.netloc.rpartition("@")
        host, port = read_host_port(place)
        rest = f"{parts.path}{parts.query}{parts.fragment}"
        if parts.scheme not in _PORTS or rest not in ("", "/"):
            raise ValueError
    except ValueError:
        schemes = ", ".join(_PORTS)
        message = f"a proxy is scheme://[user:password@]host:port, scheme of {schemes}"
        raise ConfigurationError(message) from None
    name, _, password = userinfo.partition(":")
    return Proxy(
        parts.scheme,
        host,
        port if port is not None else _PORTS[parts.scheme],
        unquote(name),
        unquote(password),
    )


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """The proxies by scheme, and which hosts are connected to directly.

    Attributes:
        by_scheme: The proxies of ``http`` and ``https``.
        direct: Addresses that are connected to directly; ``*`` is every host.
        direct_names: Names (and those below them), each with the one port that is
            meant, None for all.
    """

    by_scheme: Mapping[str, Proxy]
    direct: AllowList = NOBODY
    direct_names: tuple[tuple[str, int | None], ...] = ()

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Choose the proxy of a request; None: it goes directly.

        Args:
            scheme: The scheme of the URL; those of WebSockets count as http and https.
            host: A name or an address, without brackets.
            port: The port of the URL.
        """
        proxy = self.by_scheme.get(scheme)
        if proxy is None:
            return None
        name = _canonical(host)
        if self.direct.allows(name):
            return None
        for known, only_port in self.direct_names:
            is_meant = name == known or name.endswith(f".{known}")
            if is_meant and only_port in (None, port):
                return None
        return proxy


def read_proxy_rules(environment: Mapping[str, str]) -> ProxyRules:
    """Read the variables of an environment.

    Raises:
        ConfigurationError: A variable holds no URL of a proxy; names the variable.
    """
    fallback = _read_proxy(environment, "all_proxy", "ALL_PROXY")
    found = {
        "http": _read_proxy(environment, "http_proxy") or fallback,
        "https": _read_proxy(environment, "https_proxy", "HTTPS_PROXY") or fallback,
    }
    by_scheme = {scheme: proxy for scheme, proxy in found.items() if proxy}
    direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    networks: list[IPv4Network | IPv6Network] = []
    names: list[tuple[str, int | None]] = []
    words = re.split(r"[,\s]+", direct)
    for word in words:
        try:
            networks.append(ip_network(word, strict=False))
        except ValueError:
            names += _read_name(word)
    addresses = AllowList(tuple(networks), has_every_peer="*" in words)
    return ProxyRules(by_scheme, addresses, tuple(names))


def _read_name(word: str) -> list[tuple[str, int | None]]:
    match = _PROXY_PLACE.fullmatch(word.removeprefix("*").lstrip("."))
    name = _canonical(match[1] or match[2]) if match else ""
    return [(name, int(match[3]) if match and match[3] else None)] if name else []


def _read_proxy(environment: Mapping[str, str], *names: str) -> Proxy | None:
    for name in names:
        if value := environment.get(name, "").strip():
            try:
                return parse_proxy(value)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name}: {error}") from None
    return None


def _canonical(host: str) -> str:
    """Return the one form of a host: A-labels without a final dot, or an address."""
    try:
        host = strip_zone(read_host(host))
    except ValueError:
        host = host.lower()
    return str(read_address(host) or strip_final_dot(host))


# URLs


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
