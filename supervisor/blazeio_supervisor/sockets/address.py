"""The addresses that ``--bind`` takes, as values."""

import os
import socket

import msgspec
from msgspec import Struct

UNIX_PREFIX = "unix:"
SCHEMES = ("http", "https")


class TcpAddress(msgspec.Struct, frozen=True, tag=True):
    """A host and port as the operator wrote them; port 0 picks one.

    Attributes:
        scheme: ``http`` or ``https`` is spoken; "": https where there is a
            certificate.
    """

    host: str
    port: int
    scheme: str = ""

    def __str__(self) -> str:
        return (
            f"{self.scheme or 'http'}://{join_host_port(self.host or '*', self.port)}"
        )


class UnixAddress(msgspec.Struct, frozen=True, tag=True):
    """The path of a unix socket; ``scheme`` as of ``TcpAddress``."""

    path: str
    scheme: str = ""

    def __str__(self) -> str:
        return f"{UNIX_PREFIX}{self.path}"


Address = TcpAddress | UnixAddress


def join_host_port(host: str, port: int) -> str:
    """Write ``host:port``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(text: str) -> Address:
    """Read ``host:port``, ``:port``, ``[v6]:port`` or ``unix:/path``.

    ``http://`` or ``https://`` in front of it says what is spoken there.

    Raises:
        ValueError: The operator's fault; the text says what is wrong.
    """
    scheme, mark, rest = text.partition("://")
    if mark:
        if scheme not in SCHEMES:
            raise ValueError(f"{scheme}:// is neither http:// nor https://")
        return msgspec.structs.replace(parse_address(rest.rstrip("/")), scheme=scheme)
    if text.startswith(UNIX_PREFIX):
        return _parse_unix(text)
    host, colon, port_text = text.rpartition(":")
    if not colon and text.isdecimal():
        raise ValueError(f"no host: write `127.0.0.1:{text}`, or `:{text}` for all")
    if not colon:
        raise ValueError(f"no port: write `{text}:8000` or `unix:/path`")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets, `[::1]:8000`")
    if not port_text.isdecimal() or int(port_text) > 65535:
        raise ValueError(f"the port must be 0 to 65535, not {port_text!r}")
    return TcpAddress(host, int(port_text))


def format_address(address: Address) -> str:
    """Write it as ``parse_address`` reads it."""
    scheme = f"{address.scheme}://" if address.scheme else ""
    if isinstance(address, UnixAddress):
        return f"{scheme}{address}"
    return scheme + join_host_port(address.host, address.port)


def _parse_unix(text: str) -> UnixAddress:
    path = text.removeprefix(UNIX_PREFIX)
    if not path:
        raise ValueError("no path: write `unix:/run/app.sock`")
    if len(os.fsencode(path)) > 107:
        raise ValueError("the path is longer than the kernel's 107 octets")
    return UnixAddress(path)


class TcpEndpoint(Struct, frozen=True, tag=True):
    """One numeric address of a socket family, ready for ``bind``."""

    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        return self.write_url("http")

    def with_port(self, port: int) -> "TcpEndpoint":
        """Return the same with another port."""
        return TcpEndpoint(self.family, self.host, port)

    def write_url(self, scheme: str) -> str:
        """Write it as a person would type it."""
        return f"{scheme}://{join_host_port(self.host, self.port)}"


def resolve(address: TcpAddress) -> list[TcpEndpoint]:
    """Find every numeric address behind a host; an empty host means all.

    Raises:
        ValueError: The host is not known here.
    """
    host = address.host
    try:
        found = socket.getaddrinfo(
            # Octets, where it can be: for a text Python imports a codec of its own with
            # tables of all of Unicode, and keeps them.
            (host.encode() if host.isascii() else host) or None,
            address.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except socket.gaierror as error:
        raise ValueError(f"{address.host!r}: {error.strerror}") from None
    endpoints = [
        TcpEndpoint(family, str(sockaddr[0]), address.port)
        for family, _, _, _, sockaddr in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys(endpoints))
