"""The states of an HTTP/1 connection on the server's side, as one table.

::

    OPENED --> HEAD --> CONTENT --> WHOLE --> IDLE --> HEAD ...
                           |          |
                        DISCARD      RAW       any of them --> LINGER --> CLOSED

* OPENED: a client has connected, and has sent nothing yet.
* IDLE: the connection is kept alive, and nothing of a next request has arrived.
* HEAD: a part of a request head has arrived.
* CONTENT: a request is being served, and more of its content is due.
* WHOLE: a request is being served, and all of it is here. Octets that arrive now
  belong to the next request.
* DISCARD: the response is complete, and content that its handler has left unread is
  read past.
* RAW: the octets are no HTTP: after a 101 response, or for a raw handler.
* LINGER: our side is shut; what the peer still sends is read and dropped for a while,
  so that our last response is not destroyed by a reset (RFC 9112 section 9.6).
* CLOSED: the connection is over. A handler may run on.

The table is total, as h11's is: each pair of a state and an event either leads to a
state or is listed as illegal. An illegal pair is a fault of ours, never of a peer:
what a peer sends wrongly is an event like any other by the time it gets here.

States and events are plain numbers: an enum's members would cost a look-up each time
(5 % of a request that is answered by a few octets).
"""

from typing import Final

STATE_NAMES: Final = (
    *("OPENED", "IDLE", "HEAD", "CONTENT", "WHOLE"),
    *("DISCARD", "RAW", "LINGER", "CLOSED"),
)
STATES: Final = range(len(STATE_NAMES))
OPENED, IDLE, HEAD, CONTENT, WHOLE, DISCARD, RAW, LINGER, CLOSED = STATES
"""Those up to HEAD wait for a request: ``state <= HEAD`` asks for them."""
CONTENT_DUE: Final = (CONTENT, DISCARD)
"""In these, octets that arrive are content of a request."""

EVENT_NAMES: Final = (
    *("HEAD_BEGUN", "REQUEST", "REQUEST_WITH_CONTENT", "CONTENT_END"),
    *("RESPONSE_END", "HTTP_LEFT", "OUTPUT_SHUT", "LOST"),
)
EVENTS: Final = range(len(EVENT_NAMES))
(
    HEAD_BEGUN,
    REQUEST,
    REQUEST_WITH_CONTENT,
    CONTENT_END,
    RESPONSE_END,
    HTTP_LEFT,
    OUTPUT_SHUT,
    LOST,
) = EVENTS
"""In the order of the names: a part of a head has arrived; a whole head has, without
or with content after it; the last octet of the content has arrived; the response is
complete and the connection persists; another protocol has begun; the connection ends,
our side is shut first; the transport has lost the connection."""

_AWAITED: Final = {
    HEAD_BEGUN: HEAD,
    REQUEST: WHOLE,
    REQUEST_WITH_CONTENT: CONTENT,
    OUTPUT_SHUT: LINGER,
    LOST: CLOSED,
}

NEXT_STATE: Final[tuple[dict[int, int], ...]] = (
    {**_AWAITED, HTTP_LEFT: RAW},  # OPENED
    _AWAITED,  # IDLE
    _AWAITED,  # HEAD
    {  # CONTENT
        CONTENT_END: WHOLE,
        RESPONSE_END: DISCARD,
        OUTPUT_SHUT: LINGER,
        LOST: CLOSED,
    },
    {RESPONSE_END: IDLE, HTTP_LEFT: RAW, OUTPUT_SHUT: LINGER, LOST: CLOSED},  # WHOLE
    {CONTENT_END: IDLE, OUTPUT_SHUT: LINGER, LOST: CLOSED},  # DISCARD
    {OUTPUT_SHUT: LINGER, LOST: CLOSED},  # RAW
    {LOST: CLOSED},  # LINGER
    {},  # CLOSED
)
"""By state: from an event to the next state."""

ILLEGAL: Final = frozenset(
    (state, event)
    for state, events in (
        (OPENED, (CONTENT_END, RESPONSE_END)),
        (IDLE, (CONTENT_END, RESPONSE_END, HTTP_LEFT)),
        (HEAD, (CONTENT_END, RESPONSE_END, HTTP_LEFT)),
        (CONTENT, (HEAD_BEGUN, REQUEST, REQUEST_WITH_CONTENT, HTTP_LEFT)),
        (WHOLE, (HEAD_BEGUN, REQUEST, REQUEST_WITH_CONTENT, CONTENT_END)),
        (
            DISCARD,
            (
                *(HEAD_BEGUN, REQUEST, REQUEST_WITH_CONTENT),
                *(RESPONSE_END, HTTP_LEFT),
            ),
        ),
        (
            RAW,
            (
                *(HEAD_BEGUN, REQUEST, REQUEST_WITH_CONTENT),
                *(CONTENT_END, RESPONSE_END, HTTP_LEFT),
            ),
        ),
        (LINGER, (*range(HTTP_LEFT + 1), OUTPUT_SHUT)),
        (CLOSED, EVENTS),
    )
    for event in events
)
"""Pairs that no connection comes to: its own code would have to be wrong."""
