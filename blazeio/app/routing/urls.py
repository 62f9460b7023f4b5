"""Paths of routes, made from their names and the values of their parameters. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from blazeio.app.routing.converters import REST
from blazeio.app.routing.patterns import Parameter, Pattern
from blazeio.content.forms.urlencoded import serialize_urlencoded
from blazeio.errors import LocalProtocolError

_SAFE = "@!$&'()*+,;=:~"
"""What a segment may hold as it is (RFC 3986 section 3.3)."""

_DOTS = (".", "..")


def make_url(name: str, pattern: Pattern, params: Mapping[str, Any]) -> str:
    """Make the path of a route, and a query of the parameters that it has not.

    Args:
        name: Of the route, for the error.
        pattern: Its path.
        params: A value for each of its parameters; further ones are the query,
            where a list repeats one and None leaves it out.

    Raises:
        LocalProtocolError: One is missing, or its kind does not take the value. The
            caller's fault.
    """
    missing = [each for each in pattern.names if each not in params]
    if missing:
        reason = f"{pattern.text!r} needs {', '.join(missing)}"
        raise LocalProtocolError(f"url_for({name!r}): {reason}")
    path = "".join(f"/{_write(part, name, params)}" for part in pattern.segments)
    query = {
        key: value
        for key, value in params.items()
        if key not in pattern.names and value is not None
    }
    return f"{path}?{serialize_urlencoded(query, 'url_for')}" if query else path


def _write(part: str | Parameter, name: str, params: Mapping[str, Any]) -> str:
    if isinstance(part, str):
        return quote(part, _SAFE)
    text = str(params[part.name])
    segments = text.split("/") if part.converter is REST else [text]
    if (
        part.converter.convert(text) is None
        or any(each in _DOTS for each in segments)  # clients resolve them
        or (part.converter is not REST and "/" in text)  # %2F is a slash
    ):
        wanted = f"{{{part.name}:{part.converter.name}}}"
        message = f"url_for({name!r}): {part.name}={text!r:.80} is no {wanted}"
        raise LocalProtocolError(message)
    return "/".join(quote(each, _SAFE) for each in segments)
