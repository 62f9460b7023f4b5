"""What a connection waits for, in each phase of its life.

::

    HEAD -> CONTENT -> WHOLE -> HEAD ...     one turn per request
      |        |         |
      +--------+---------+--> LINGER -> CLOSED

HEAD waits for a request head. With it a task is made for the handler, which
runs through CONTENT (more of the request's content is due) and WHOLE (all of
it is here; octets that arrive now belong to the next request and wait in the
remainder). When the handler is over its response is ended and the next head
is looked for. RAW is the whole life of a connection that a raw handler takes
before any HTTP. LINGER is a close in stages (RFC 9112 section 9.6): our side is
shut, theirs is read and dropped for a while, so that our last answer is not
destroyed by a reset.

Plain numbers: an enum's members would cost a look-up each time.
"""

NAMES = ("HEAD", "CONTENT", "WHOLE", "RAW", "LINGER", "CLOSED")

HEAD, CONTENT, WHOLE, RAW, LINGER, CLOSED = range(6)
