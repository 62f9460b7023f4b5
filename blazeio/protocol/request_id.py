"""The id of a request: what a proxy has called it, or one of our own.

Proxies send it as ``X-Request-ID``; there is no RFC for it. It stands in logs and
in responses to errors, so what comes from outside is taken only from a proxy that
is trusted, and only where it cannot be taken for something else there.
"""

import os
import re

FIELD = "x-request-id"
REQUEST_ID_CHARS = 128
"""Longer ids are replaced by one of our own; a UUID has 36 characters."""
REQUEST_ID_BYTES = 16
"""The randomness in an id of our own, as in a UUID; written as hexadecimal digits."""

_ACCEPTED = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{REQUEST_ID_CHARS}}}")
"""What UUIDs, ULIDs, W3C trace ids, base64 and proxies' own forms consist of. No
blank, quote or line end: it goes into logs as it is."""


def accept_request_id(value: str | None) -> str | None:
    """Return an id from outside where it is one; None: make an own."""
    if value is None or _ACCEPTED.fullmatch(value) is None:
        return None
    return value


def make_request_id() -> str:
    """Make an id that no other request has, here or on another machine."""
    return os.urandom(REQUEST_ID_BYTES).hex()
