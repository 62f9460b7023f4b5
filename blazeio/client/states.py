"""The states of a client's connection, as one table.

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

The table is total, as that of a server's connection (``protocol.states``): each pair
of a state and an event leads to a state, or is listed as illegal, which is a fault of
ours and never of the server.
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
