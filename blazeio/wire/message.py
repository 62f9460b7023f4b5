"""The head of one request, as values.

May import: blazeio.limits, blazeio.wire.headers.
"""

from msgspec import Struct

from blazeio.limits import Limits
from blazeio.wire.headers import Headers


class RequestHead(Struct, frozen=True, eq=False, gc=False):
    """A validated request head; everything that framing needs is decided.

    Made by ``parser.parse_head``. One object may serve many equal requests, of
    many clients: it cannot be changed.

    Attributes:
        method: Case-sensitive, 1 to 32 octets.
        target: As sent, e.g. ``"/a%20b?c"``.
        path: Percent-decoded UTF-8, without the query. ``"*"`` for ``OPTIONS
            *``, ``""`` for CONNECT.
        query: As sent, without ``?``; ``""`` where there is none.
        minor: 0 or 1 of HTTP/1.x; higher ones are served as 1.
        headers: All fields, in order.
        host: ``host[:port]`` of the target where it has one, else of the Host
            field; ``""`` for an empty Host; None only in HTTP/1.0.
        content_length: In octets; None where none was sent.
        is_chunked: The content is framed by the chunked transfer coding.
        is_plain: It is HTTP/1.1, persistent and not HEAD: its answer may be
            plain as well.
        is_persistent: The peer is ready to reuse the connection (RFC 9112
            section 9.3).
        expects_continue: The peer holds its content back until it sees a 100.
            False in HTTP/1.0 and where no content follows.
        upgrade: Value of Upgrade; None in HTTP/1.0 and without ``Connection:
            upgrade``, where RFC 9110 section 7.8 wants it ignored.
        end: Offset just after the head in the octets that were fed.
        limits: Those that it was found to be within.
    """

    method: str
    target: str
    path: str
    query: str
    minor: int
    headers: Headers
    host: str | None
    content_length: int | None
    is_chunked: bool
    is_plain: bool
    is_persistent: bool
    expects_continue: bool
    upgrade: str | None
    end: int
    limits: Limits

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target} HTTP/1.{self.minor}>"
