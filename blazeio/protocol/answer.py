"""Composing the head of a response: what the handler said, and what HTTP adds."""

from dataclasses import dataclass

from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.protocol.context import ServerContext
from blazeio.wire.framing import decide_response_framing
from blazeio.wire.outgoing import OutgoingMessage
from blazeio.wire.serializer import serialize_fields, serialize_status_line


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the request decides the framing of its response."""

    method: str
    minor: int
    is_persistent: bool


def open_answer(
    context: ServerContext,
    asked: Asked,
    status: int,
    headers: FieldInput | None,
    *,
    content_type_line: bytes = b"",
    extra_lines: bytes = b"",
) -> OutgoingMessage:
    """Decide head and framing of a response; nothing is sent.

    Args:
        context: Gives Date and Server, and whether we drain.
        asked: Of the request.
        status: 200 to 599.
        headers: What the handler prepared.
        content_type_line: Used when ``headers`` has no Content-Type.
        extra_lines: Serialized fields to add, such as cookies.

    Raises:
        LocalProtocolError: The status or a field is malformed.
    """
    if not 200 <= status <= 599:
        raise LocalProtocolError(f"status {status}: expected 200 to 599")
    block = serialize_fields(headers)
    if not block.has_date and not block.has_server:
        start = context.head_start(status)
    else:
        start = serialize_status_line(status)
        if not block.has_date:
            start += b"Date: %b\r\n" % context.date()
    if block.has_content_type:
        content_type_line = b""
    return OutgoingMessage(
        b"".join((start, content_type_line, block.lines, extra_lines)),
        decide_response_framing(
            method=asked.method,
            minor=asked.minor,
            status=status,
            content_length=block.content_length,
        ),
        block.content_length,
        asked.minor,
        is_persistent=(
            asked.is_persistent and not block.wants_close and not context.is_draining
        ),
    )
