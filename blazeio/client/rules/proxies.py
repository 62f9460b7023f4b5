"""Which proxy a request goes through, as the environment says.

The variables that curl made customary, read from a mapping that the caller
gives: ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, and all
but the first in capitals too; small letters win. ``HTTP_PROXY`` is not read: in
a CGI program it is the field ``Proxy`` of whoever asks (CVE-2016-5385).

``no_proxy`` is a list of hosts that are reached directly, with commas or spaces
between: ``example.com`` (and the hosts below it, with or without a leading dot
or ``*.``), ``example.com:8080`` (that port only), addresses, networks
(``10.0.0.0/8``), and ``*`` for all.

May import: blazeio.content.allow_list, blazeio.errors, blazeio.wire.target. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from blazeio.client.rules.basic import basic_credentials
from blazeio.client.rules.hosts import (
    bracketed,
    read_host,
    read_place,
    strip_final_dot,
    strip_zone,
)
from blazeio.content.allow_list import NOBODY, AllowList, read_address
from blazeio.errors import ConfigurationError

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
# host [ ":" port ], an address of IPv6 with a port in brackets
_PLACE: Final = re.compile(r"(?:\[([^]]*)\]|([^:]*))(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: ``http``, ``https`` (the same over TLS), ``socks5`` or ``socks5h``
            (which resolves names itself).
        host: As ``rules.hosts`` gives it.
        port: Of it.
        username: "" where none is asked for; not shown by ``repr``.
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
        """It speaks HTTP, else SOCKS 5."""
        return self.scheme in ("http", "https")

    @property
    def is_tls(self) -> bool:
        """What is said to it is enciphered, whatever the server is asked by."""
        return self.scheme == "https"

    @property
    def authorization(self) -> str | None:
        """The Proxy-Authorization field: RFC 7617, UTF-8. None without a name."""
        if not self.username:
            return None
        return basic_credentials(self.username, self.password)


def parse_proxy(url: str) -> Proxy:
    """Read a proxy as people write it: ``http://user:password@host:3128``.

    Without a scheme it is http; the default port is that of the scheme, 80, 443, or
    1080 for socks5. Name and password are percent-decoded.

    Raises:
        ConfigurationError: It is none. What it says is not quoted, since it may
            hold a password.
    """
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        userinfo, _, place = parts.netloc.rpartition("@")
        host, port = read_place(place)
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
    """Proxies by scheme, and who is reached without.

    Attributes:
        by_scheme: Of ``http`` and ``https``.
        direct: Addresses that are reached directly; ``*`` is every host.
        direct_names: Names (and those below them) with the one port that is
            meant, None for all.
    """

    by_scheme: Mapping[str, Proxy]
    direct: AllowList = NOBODY
    direct_names: tuple[tuple[str, int | None], ...] = ()

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Choose the proxy of a request; None: it goes directly.

        Args:
            scheme: Of the URL; those of WebSockets are asked as http and https.
            host: A name or an address, without brackets.
            port: Of it.
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
    """Read the variables.

    Raises:
        ConfigurationError: A variable holds no proxy; says which variable.
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
    match = _PLACE.fullmatch(word.removeprefix("*").lstrip("."))
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
    """Names by their A-labels without the final dot; addresses in one way."""
    try:
        host = strip_zone(read_host(host))
    except ValueError:
        host = host.lower()
    return str(read_address(host) or strip_final_dot(host))
