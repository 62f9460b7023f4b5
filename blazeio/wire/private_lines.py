"""Lines of a head that are never cached, cut out of it and put back.

They differ from client to client, or from request to request: a head is found in a
cache by what is left without them. How they begin is searched as browsers and most
clients write it; and as node does, and proxies from HTTP/2. A line that begins in
another way is no harm: then no section with it is cached.
"""

from collections.abc import Sequence
from typing import Final

from blazeio.limits import Limits
from blazeio.wire.headers import Headers

COOKIE_MARK: Final = b"\r\nCookie: "
AUTHORIZATION_MARK: Final = b"\r\nAuthorization: "
_MARKS: Final = (
    (COOKIE_MARK, "cookie"),
    (AUTHORIZATION_MARK, "authorization"),
    (b"\r\nReferer: ", "referer"),
    (b"\r\nX-Forwarded-For: ", "x-forwarded-for"),
)
_LOWER_MARKS: Final = tuple((mark.lower(), name) for mark, name in _MARKS)
PRIVATE_MARKS: Final = tuple(mark for mark, _ in (*_MARKS, *_LOWER_MARKS))
_HOST_MARK: Final = b"\r\nHost: "

Cut = tuple[int, str, bytes]
"""A line that was cut out: how many fields stood before it, in what it was cut out of;
its name, in lower case; and its value."""


def choose_marks(octets: bytes) -> Sequence[tuple[bytes, str]]:
    """Return how private lines may begin in a head, each with its name."""
    # Each is searched, which takes 0.06 us: so not all of them.
    return _MARKS if _HOST_MARK in octets else _LOWER_MARKS


def cut_line(octets: bytes, at: int, mark: bytes, name: str, cuts: list[Cut]) -> bytes:
    """Return a head without one line, and append that to ``cuts``.

    Args:
        octets: The whole head.
        at: Where the line begins, with the CRLF before it.
        mark: What it begins with.
        name: Its name, in lower case.
        cuts: What was cut out before.
    """
    line_end = octets.find(b"\r\n", at + 2)
    place = octets.count(b"\r\n", 0, at)
    cuts.append((place, name, octets[at + len(mark) : line_end]))
    return octets[:at] + octets[line_end:]


def put_back(headers: Headers, cuts: list[Cut], limits: Limits) -> Headers | None:
    """Return the fields with those that were cut out, each at its place.

    Args:
        headers: The others.
        cuts: In the order in which they were cut out.
        limits: ``field_count``, ``field_bytes``.

    Returns:
        None where something is wrong with them, or they are beyond the limits.
    """
    pairs = headers.as_tuple()
    # Backwards, since each place was counted in what was left by the cuts before it.
    for place, name, octets in reversed(cuts):
        value = str(octets, "latin-1").strip(" \t")
        # Left to the general way, which knows HTAB and obs-text, and has the words for
        # what is wrong.
        if not (value.isascii() and value.isprintable()):
            return None
        if len(name) + len(": ") + len(octets) > limits.field_bytes:
            return None
        pairs = (*pairs[:place], (name, value), *pairs[place:])
    return Headers(pairs) if len(pairs) <= limits.field_count else None
