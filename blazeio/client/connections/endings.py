"""How a server may end a connection, and what then is missing.

May import: blazeio.protocol.flow, exchange.
"""

import asyncio
import ssl

from blazeio.client.connections.exchange import CONTENT
from blazeio.protocol.flow import ContentStream


def has_ended_properly(transport: asyncio.BaseTransport) -> bool:
    """Whether the server itself has ended what it sent.

    Over TLS anybody between can send a FIN: only a closure alert is the server's
    (RFC 9112 section 9.8). Where content ends by the close, that is all there is.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return not tls.read(1)  # nothing, at once: the alert was there
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


def tell_what_is_missing(
    phase: int, content: ContentStream, *, has_received: bool
) -> str:
    """Say how far it had come.

    Args:
        phase: Of the connection.
        content: Of the response, in CONTENT.
        has_received: An octet of the response has come.
    """
    if phase == CONTENT and content.ends_by_close:
        return "was cut off within its response"
    if phase == CONTENT and content.due_bytes:
        return f"closed {content.due_bytes} octets before the end of its response"
    if phase == CONTENT:
        return "closed before its last chunk"
    if has_received:
        return "closed within the head of its response"
    return "closed and gave no response"
