"""Whose word is taken for who the client is."""

from dataclasses import dataclass

from blazeio.app.patterns import check_root_path
from blazeio.content.forwarded import parse_allow_list
from blazeio.errors import ConfigurationError
from blazeio_supervisor.options.kinds.texts import Parsed
from blazeio_supervisor.options.option import Section, option

_WORDS = "addresses, networks, * (everybody) or unix, separated by commas"


def read_allow_list(text: str) -> str:
    """Check a list of peers.

    Raises:
        ValueError: A word of it cannot be read.
    """
    try:
        parse_allow_list(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return text


def read_root_path(text: str) -> str:
    """Check ``--root-path``.

    Raises:
        ValueError: It is no path.
    """
    try:
        return check_root_path(text)
    except ConfigurationError:
        raise ValueError("expected a path such as /api, no / at its end") from None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Proxies(Section):
    """Who is in front of the service."""

    title = "Proxies"

    forwarded_allow_ips: str | None = option(
        Parsed(read_allow_list, "LIST"),
        "Proxies whose X-Forwarded-For, -Proto, -Host or Forwarded say who the client "
        f"is: {_WORDS}.",
        default=None,
        default_text="the App's own, else nobody",
    )
    proxy_protocol_allow_ips: str | None = option(
        Parsed(read_allow_list, "LIST"),
        "Balancers that begin each connection with a header of the PROXY protocol (1 "
        "or 2); they must, or are refused.",
        default=None,
        default_text="the App's own, else nobody",
    )
    root_path: str | None = option(
        Parsed(read_root_path, "PATH"),
        "What the proxy takes away in front of each path, such as /api: r.root_path, "
        "and where the framework's own redirects lead.",
        default=None,
        default_text="the App's own, else nothing",
    )
