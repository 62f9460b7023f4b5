"""The head of one response, as values.

May import: blazeio.limits, blazeio.wire.headers.
"""

from msgspec import Struct

from blazeio.limits import Limits
from blazeio.wire.headers import Headers


class ResponseHead(Struct, frozen=True, eq=False, gc=False):
    """A validated response head.

    Made by ``parser.parse_response_head``. One object may serve many equal
    responses: it cannot be changed.

    Attributes:
        status: 100 to 999; what is from 600 on is to be treated as 500.
        reason: As sent, latin-1; often empty.
        minor: 0 or 1 of HTTP/1.x; higher ones are taken for 1.
        headers: All fields, in order.
        content_length: In octets; None where none was sent.
        is_chunked: The content is framed by the chunked transfer coding.
        is_persistent: The server lets the connection be used again (RFC 9112
            section 9.3).
        upgrade: Value of Upgrade; None in HTTP/1.0 and without ``Connection:
            upgrade``.
        keep_alive_s: How long the server says to keep the connection when it
            is idle; None where it does not say.
        size: Octets of the head, with the empty line.
        limits: Those that it was found to be within.
    """

    status: int
    reason: str
    minor: int
    headers: Headers
    content_length: int | None
    is_chunked: bool
    is_persistent: bool
    upgrade: str | None
    keep_alive_s: int | None
    size: int
    limits: Limits

    def __repr__(self) -> str:
        return f"<ResponseHead HTTP/1.{self.minor} {self.status} {self.reason}>"
