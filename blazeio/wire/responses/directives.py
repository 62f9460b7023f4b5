"""What the fields of a response decide: framing, persistence, upgrade.

May import: blazeio.errors, blazeio.wire.fields.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from blazeio.wire.fields.directives import (
    DecidingPairs,
    decide_persistence,
    group_values,
    read_framing,
    split_list,
)

# RFC 2068 section 19.7.1.1, in use everywhere: Keep-Alive: timeout=5, max=100
_KEEP_ALIVE_TIMEOUT: Final = re.compile(r"timeout[ \t]*=[ \t]*([0-9]{1,6})")


class ResponseDirectives(Struct, frozen=True):
    """Attributes as in ``ResponseHead``."""

    content_length: int | None
    is_chunked: bool
    is_persistent: bool
    upgrade: str | None
    keep_alive_s: int | None


def decide_response(pairs: DecidingPairs, minor: int) -> ResponseDirectives:
    """Decide what follows from the fields of a response.

    As strict as for a request: a repeated Content-Length, or one beside
    Transfer-Encoding, is how a response is split where two of its recipients
    differ (RFC 9112 sections 6.3 and 11.1).

    Args:
        pairs: Names and values of the fields of ``DECIDING_NAMES``, in order.
        minor: Of HTTP/1.x.

    Raises:
        RemoteProtocolError: The peer's fault.
    """
    values_of = group_values(pairs).get
    length, is_chunked = read_framing(values_of, minor)
    options = split_list(values_of("connection", ()))
    may_upgrade = minor > 0 and "upgrade" in options
    return ResponseDirectives(
        content_length=length,
        is_chunked=is_chunked,
        is_persistent=decide_persistence(options, minor),
        upgrade=(may_upgrade and ", ".join(values_of("upgrade", ()))) or None,
        keep_alive_s=_read_keep_alive(values_of("keep-alive", ())),
    )


def _read_keep_alive(values: Sequence[str]) -> int | None:
    for parameter in split_list(values):
        match = _KEEP_ALIVE_TIMEOUT.fullmatch(parameter)
        if match is not None:
            return int(match[1])
    return None
