"""What the fields of a request decide: host, framing, persistence, upgrade.

Those of a response are in ``wire.responses.directives``.

May import: blazeio.errors, blazeio.wire.framing, grammar, fields.memo.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from blazeio.errors import RemoteProtocolError
from blazeio.wire.fields.memo import Memo
from blazeio.wire.framing import parse_content_length, parse_transfer_encoding
from blazeio.wire.grammar import quote

DECIDING_NAMES: Final = frozenset(
    (
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "upgrade",
        "keep-alive",
    )
)

DecidingPairs = tuple[tuple[str, str], ...]
ValuesOf = Callable[[str, Sequence[str]], Sequence[str]]
"""From a name and a default to the values of a field."""


class Directives(Struct, frozen=True, eq=False, gc=False):
    """Attributes as in ``RequestHead``."""

    host: str | None
    content_length: int | None
    is_chunked: bool
    is_persistent: bool
    expects_continue: bool
    upgrade: str | None


_LONGEST_KEPT_BYTES: Final = 512

# For HTTP/1.1. Most requests of a site share Host and Connection even where
# their Cookies differ: 0.15 us instead of 0.9. None of these fields is secret.
kept_directives: Final[Memo[DecidingPairs, Directives]] = Memo(256)


def read_directives(pairs: DecidingPairs, minor: int) -> Directives:
    """Decide what follows from the fields of ``DECIDING_NAMES``.

    Args:
        pairs: Names and values of those fields, in order.
        minor: Of HTTP/1.x.

    Raises:
        RemoteProtocolError: The peer's fault; 400, 413, 417 or 501.
    """
    directives = kept_directives.recall(pairs) if minor else None
    if directives is None:
        directives = _decide(pairs, minor)
        if minor and sum(len(value) for _, value in pairs) <= _LONGEST_KEPT_BYTES:
            kept_directives.keep(pairs, directives)
    return directives


def _decide(pairs: DecidingPairs, minor: int) -> Directives:
    values_of = group_values(pairs).get
    length, is_chunked = read_framing(values_of, minor)
    options = split_list(values_of("connection", ()))
    host = _decide_host(values_of("host", ()), minor)
    # RFC 9110 section 10.1.1: ignored in HTTP/1.0; nothing to continue with
    # where no content follows.
    is_asked = minor > 0 and _asks_to_continue(values_of("expect", ()))
    # RFC 9110 section 7.8: ignored in HTTP/1.0 and without the option.
    may_upgrade = minor > 0 and "upgrade" in options
    return Directives(
        host=host,
        content_length=length,
        is_chunked=is_chunked,
        is_persistent=decide_persistence(options, minor),
        expects_continue=is_asked and (is_chunked or bool(length)),
        upgrade=(may_upgrade and ", ".join(values_of("upgrade", ()))) or None,
    )


def group_values(pairs: DecidingPairs) -> dict[str, list[str]]:
    """All values of each name, in order."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def read_framing(values_of: ValuesOf, minor: int) -> tuple[int | None, bool]:
    """Give the declared length, if there is one, and whether content is chunked.

    Raises:
        RemoteProtocolError: The peer's fault; 400, 413 or 501.
    """
    length = parse_content_length(values_of("content-length", ()))
    is_chunked = parse_transfer_encoding(values_of("transfer-encoding", ()), minor)
    if is_chunked and length is not None:
        # RFC 9112 section 6.1 lets a server answer and close; but who sends
        # both is faulty or smuggles.
        raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
    return length, is_chunked


def _decide_host(values: Sequence[str], minor: int) -> str | None:
    """RFC 9112 section 3.2: exactly one in HTTP/1.1, at most one in 1.0."""
    if len(values) > 1:
        raise RemoteProtocolError("more than one Host")
    if values:
        return values[0]
    if minor:
        raise RemoteProtocolError("HTTP/1.1 request without Host")
    return None


def split_list(values: Sequence[str]) -> list[str]:
    """RFC 9110 section 5.6.1: a list, over several lines; in lower case."""
    if not values:
        return []
    return [part.strip(" \t") for part in ",".join(values).lower().split(",")]


def decide_persistence(options: list[str], minor: int) -> bool:
    """RFC 9112 section 9.3: close wins; HTTP/1.0 must ask for keep-alive."""
    return "close" not in options and (minor > 0 or "keep-alive" in options)


def _asks_to_continue(values: Sequence[str]) -> bool:
    """RFC 9110 section 10.1.1: 417 for what is not 100-continue."""
    expectations = [part for part in split_list(values) if part]
    for expectation in expectations:
        if expectation != "100-continue":
            message = f"unknown expectation {quote(expectation)}"
            raise RemoteProtocolError(message, 417)
    return bool(expectations)
