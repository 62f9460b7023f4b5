"""Content-Range of a response: RFC 9110 section 14.4. Pure."""

import re
from typing import Final

from msgspec import Struct

_PART: Final = re.compile(
    r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE
)
_UNSATISFIED: Final = re.compile(r"bytes \*/([0-9]{1,18})", re.IGNORECASE)


class ContentRange(Struct, frozen=True):
    """Which octets of a representation the content of a 206 is.

    Attributes:
        first: Offset of the first octet.
        last: Offset of the last octet; not less.
        total: Octets of the whole representation; None: the server does not know.
    """

    first: int
    last: int
    total: int | None

    @property
    def size_bytes(self) -> int:
        """Octets of the part."""
        return self.last - self.first + 1


def read_content_range(field: str) -> ContentRange | None:
    """Read the field of a 206; None where it is malformed or of another unit."""
    found = _PART.fullmatch(field)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def read_unsatisfied_range(field: str) -> int | None:
    """Read the field of a 416: octets of the whole representation; None: not said."""
    found = _UNSATISFIED.fullmatch(field)
    return None if found is None else int(found[1])
