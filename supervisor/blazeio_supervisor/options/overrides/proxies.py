"""Whose word is taken for who the client is."""

from collections.abc import Mapping
from typing import Any

import click

from blazeio.content.allow_list import parse_allow_list
from blazeio.errors import ConfigurationError
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.section import Section

_WORDS = "addresses, networks, * (everybody) or unix, separated by commas"

PROXIES = Section(
    "Proxies",
    (
        click.Option(
            ["--forwarded-allow-ips"],
            metavar="LIST",
            help="Proxies whose X-Forwarded-For, -Proto, -Host or Forwarded say who "
            f"the client is: {_WORDS}.  [default: the App's own, else nobody]",
        ),
        click.Option(
            ["--proxy-protocol-allow-ips"],
            metavar="LIST",
            help="Balancers that begin each connection with a header of the PROXY "
            "protocol (1 or 2); they must, or are refused.  [default: the App's own, "
            "else nobody]",
        ),
    ),
)


def read_proxies(given: Mapping[str, Any]) -> dict[str, str | None]:
    """Check both lists; gives the fields of ``Overrides``.

    Raises:
        UsageError: A word of one cannot be read.
    """
    return {
        key: _read_list(option.opts[0], given[key])
        for option in PROXIES.options
        if (key := option.name)
    }


def _read_list(option: str, words: str | None) -> str | None:
    if words is not None:
        try:
            parse_allow_list(words)
        except ConfigurationError as error:
            raise UsageError(f"{option} {words}: {error}") from None
    return words
