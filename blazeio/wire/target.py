"""Request targets: the four forms of RFC 9112 section 3.2, and Host."""

from typing import NamedTuple
from urllib.parse import unquote

from blazeio.errors import RemoteProtocolError
from blazeio.wire.grammar import HOST, quote

_MAX_PORT = 65_535


class Target(NamedTuple):
    """A request target, taken apart.

    Attributes:
        path: Percent-decoded; ``"*"`` for the asterisk-form, ``""`` for the
            authority-form.
        query: As sent, without its ``?``.
        authority: ``host[:port]`` of the absolute- and authority-form, which
            then overrides the Host field (RFC 9112 section 3.3).
    """

    path: str
    query: str
    authority: str | None


def decode_path(raw: str) -> str:
    """Percent-decode a path as UTF-8.

    Lenient, since nothing of the framing hangs on it: a truncated or non-hex
    escape stays as it is, octets that are no UTF-8 become U+FFFD. What decodes
    to NUL, ``/`` or ``..`` is the business of whoever opens files.
    """
    return unquote(raw) if "%" in raw else raw


def is_host(value: str) -> bool:
    """Tell whether ``value`` is ``uri-host [ ":" port ]`` and not empty.

    RFC 9110 section 7.2, RFC 3986 section 3.2.2: no userinfo, no list.
    """
    match = HOST.fullmatch(value)
    if match is None:
        return False
    port = match[1]
    return not port or (len(port) <= 5 and int(port) <= _MAX_PORT)


def parse_target(method: str, target: str) -> Target:
    """Take a request target apart and check that its form fits the method.

    Args:
        method: As sent; methods are case-sensitive.
        target: Not empty, visible ASCII only.

    Raises:
        RemoteProtocolError: The peer's fault; 400.
    """
    if method == "CONNECT":
        return _parse_authority_form(target)
    if target.startswith("/"):
        raw, _, query = target.partition("?")
        return Target(decode_path(raw), query, None)
    if target == "*":
        if method != "OPTIONS":
            message = f"target '*' is only for OPTIONS, not for {method}"
            raise RemoteProtocolError(message)
        return Target("*", "", None)
    return _parse_absolute_form(target)


def _parse_authority_form(target: str) -> Target:
    """RFC 9112 section 3.2.3; an empty or invalid port is refused (9110 9.3.6)."""
    if not is_host(target) or not target[-1].isdigit() or ":" not in target:
        message = f"CONNECT needs host:port as its target, got {quote(target)}"
        raise RemoteProtocolError(message)
    return Target("", "", target)


def _parse_absolute_form(target: str) -> Target:
    """RFC 9112 section 3.2.2, for http and https.

    Userinfo is refused as RFC 9110 section 4.2.4 advises, an empty host as
    its section 4.2.1 requires: ``is_host`` knows neither.
    """
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        message = f"target is neither a path nor an http URI: {quote(target)}"
        raise RemoteProtocolError(message)
    before_query, _, query = rest.partition("?")
    authority, slash, path = before_query.partition("/")
    if not is_host(authority):
        message = f"bad authority in the target: {quote(authority)}"
        raise RemoteProtocolError(message)
    return Target(decode_path(slash + path) or "/", query, authority)
