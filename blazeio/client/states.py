"""The states of a client's connection, as one table; and what is decided by them.

::

    IDLE --> HEAD --> CONTENT --> IDLE
               |         |
               |         +--> DRAINING --> IDLE      any of them --> CLOSED
               +--> TUNNEL

* IDLE: no exchange is served.
* HEAD: a request goes out, and the head of its response is awaited.
* CONTENT: the content of the response arrives.
* DRAINING: its reader has left; a little that is still to come is read and dropped.
* TUNNEL: octets go both ways as they are, after a 101 or a CONNECT.
* CLOSED: the connection is over.

The table is total, as that of a server's connection (``protocol.http1_states``): each
pair of a state and an event leads to a state, or is listed as illegal, which is a fault
of ours and never of the server.
"""

from typing import Final

STATE_NAMES: Final = ("IDLE", "HEAD", "CONTENT", "DRAINING", "TUNNEL", "CLOSED")
STATES: Final = range(len(STATE_NAMES))
IDLE, HEAD, CONTENT, DRAINING, TUNNEL, CLOSED = STATES

EVENT_NAMES: Final = (
    *("REQUEST", "RESPONSE_BEGUN", "HTTP_LEFT"),
    *("READER_LEFT", "RESPONSE_END", "CONNECTION_END"),
)
EVENTS: Final = range(len(EVENT_NAMES))
REQUEST, RESPONSE_BEGUN, HTTP_LEFT, READER_LEFT, RESPONSE_END, CONNECTION_END = EVENTS
"""In the order of the names: an exchange begins; the head of its final response has
come; another protocol has begun; the exchange is left before its response is whole;
the response is whole and the connection can be used again; the connection is closed or
lost, by either side."""

NEXT_STATE: Final[tuple[dict[int, int], ...]] = (
    {REQUEST: HEAD, CONNECTION_END: CLOSED},  # IDLE
    {RESPONSE_BEGUN: CONTENT, HTTP_LEFT: TUNNEL, CONNECTION_END: CLOSED},  # HEAD
    {READER_LEFT: DRAINING, RESPONSE_END: IDLE, CONNECTION_END: CLOSED},  # CONTENT
    {RESPONSE_END: IDLE, CONNECTION_END: CLOSED},  # DRAINING
    {CONNECTION_END: CLOSED},  # TUNNEL
    {CONNECTION_END: CLOSED},  # CLOSED: it may be closed again
)
"""By state: from an event to the next state."""

ILLEGAL: Final = frozenset(
    (state, event)
    for state, events in (
        (IDLE, (RESPONSE_BEGUN, HTTP_LEFT, READER_LEFT, RESPONSE_END)),
        (HEAD, (REQUEST, READER_LEFT, RESPONSE_END)),
        (CONTENT, (REQUEST, RESPONSE_BEGUN, HTTP_LEFT)),
        (DRAINING, (REQUEST, RESPONSE_BEGUN, HTTP_LEFT, READER_LEFT)),
        (TUNNEL, (REQUEST, RESPONSE_BEGUN, HTTP_LEFT, READER_LEFT, RESPONSE_END)),
        (CLOSED, (REQUEST, RESPONSE_BEGUN, HTTP_LEFT, READER_LEFT, RESPONSE_END)),
    )
    for event in events
)
"""Pairs that no connection comes to: its own code would have to be wrong."""

MOST_DRAINED_BYTES: Final = 64 * 1024
"""How much unwanted content is read and dropped: a new connection costs as much as
about 100 KiB."""
TRUSTED_S: Final = 0.005
"""How long after a response a connection is used again without asking the kernel
whether the server has closed it. Only for requests that could be sent once more; the
question takes 3 % of the time of a small request."""


def shorten_idle(idle_s: float, keep_alive_s: int | None) -> float:
    """Return how long a connection may be idle and is used again.

    A second less than the server's Keep-Alive says, since the server began to count
    earlier.
    """
    if keep_alive_s is None:
        return idle_s
    return min(idle_s, max(keep_alive_s - 1.0, 0.0))


def describe_missing_end(
    state: int,
    *,
    has_received: bool = False,
    due_bytes: int = 0,
    ends_by_close: bool = False,
) -> str:
    """Return what is missing at the end of a connection, for the error.

    Args:
        state: The state of the connection.
        has_received: An octet of the response has come.
        due_bytes: In CONTENT: octets still to come of a declared length.
        ends_by_close: Likewise: no length was declared, and the close is its end.
    """
    if state == CONTENT and ends_by_close:
        return "was cut off within its response"
    if state == CONTENT and due_bytes:
        return f"closed {due_bytes} octets before the end of its response"
    if state == CONTENT:
        return "closed before its last chunk"
    if has_received:
        return "closed within the head of its response"
    return "closed and gave no response"
