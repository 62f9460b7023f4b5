"""From a request for a representation to status, fields and parts.

May import: blazeio.content.selection.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from blazeio.content.selection.preconditions import Verdict, evaluate, holds_for_range
from blazeio.content.selection.ranges import (
    ByteRange,
    RangeNotSatisfiableError,
    compose_multipart,
    decide_ranges,
)
from blazeio.content.selection.validators import Validators

CONDITIONS = frozenset(
    (
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
    )
)
"""The fields that decide here: a request without them gets the whole."""


class Representation(Struct, frozen=True):
    """What a GET without conditions would be sent.

    Attributes:
        media_type: Value of Content-Type.
        size_bytes: Of the content.
        validators: Of this state of it.
        coding: Its content coding; None: as it is.
        is_negotiated: Another Accept-Encoding may be sent other octets.
    """

    media_type: str
    size_bytes: int
    validators: Validators
    coding: str | None = None
    is_negotiated: bool = False

    def fields(self) -> dict[str, str | int]:
        """Those of the representation, but for its size."""
        fields: dict[str, str | int] = {
            "Content-Type": self.media_type,
            "ETag": self.validators.etag,
            "Last-Modified": self.validators.last_modified,
            "Accept-Ranges": "bytes",
        }
        if self.coding is not None:
            fields["Content-Encoding"] = self.coding
        if self.is_negotiated:
            fields["Vary"] = "Accept-Encoding"
        return fields


class Selection(Struct, frozen=True):
    """The answer.

    Attributes:
        status: 200, 206, 304, 412 or 416.
        fields: Content-Length among them, but in a 304.
        parts: Octets to send before each part, and the part.
        ending: Octets to send after the last part; of an error, its text.
    """

    status: int
    fields: dict[str, str | int]
    parts: list[tuple[bytes, ByteRange]] = field(default_factory=list)
    ending: bytes = b""


def select(
    method: str,
    asked: Mapping[str, str],
    found: Representation,
    now_s: float,
    make_boundary: Callable[[], str],
) -> Selection:
    """Decide what answers a request.

    Args:
        method: Preconditions and ranges are those of GET and HEAD; by any
            other method the whole is sent.
        asked: Fields of the request, combined, by lower-case name.
        found: What it is about.
        now_s: Unix time.
        make_boundary: Called where several parts are sent.
    """
    if method not in ("GET", "HEAD") or CONDITIONS.isdisjoint(asked):
        return _select_whole(found)
    verdict = evaluate(method, asked, found.validators, now_s)
    if verdict is Verdict.NOT_MODIFIED:
        return _select_nothing(found)
    if verdict is Verdict.PRECONDITION_FAILED:
        return _refuse(412, b"Precondition Failed", {})
    return _select_parts(asked, found, now_s, make_boundary)


def _select_parts(
    asked: Mapping[str, str],
    found: Representation,
    now_s: float,
    make_boundary: Callable[[], str],
) -> Selection:
    value = asked.get("range")
    if value is None:
        return _select_whole(found)
    condition = asked.get("if-range")
    if condition is not None and not holds_for_range(
        condition, found.validators, now_s
    ):
        return _select_whole(found)
    try:
        ranges = decide_ranges(value, found.size_bytes)
    except RangeNotSatisfiableError:
        content_range = {"Content-Range": f"bytes */{found.size_bytes}"}
        return _refuse(416, b"Range Not Satisfiable", content_range)
    if ranges is None:
        return _select_whole(found)
    if len(ranges) > 1:
        return _select_several(ranges, found, make_boundary())
    (part,) = ranges
    fields = {
        **found.fields(),
        "Content-Range": part.content_range(found.size_bytes),
        "Content-Length": part.size,
    }
    return Selection(206, fields, [(b"", part)])


def _select_whole(found: Representation) -> Selection:
    fields = {**found.fields(), "Content-Length": found.size_bytes}
    if not found.size_bytes:
        return Selection(200, fields)
    return Selection(200, fields, [(b"", ByteRange(0, found.size_bytes))])


def _select_several(
    ranges: list[ByteRange], found: Representation, boundary: str
) -> Selection:
    content = compose_multipart(ranges, found.size_bytes, found.media_type, boundary)
    fields = {
        **found.fields(),
        "Content-Type": f"multipart/byteranges; boundary={boundary}",
        "Content-Length": content.size_bytes,
    }
    return Selection(206, fields, content.parts, content.ending)


def _select_nothing(found: Representation) -> Selection:
    """RFC 9110 section 15.4.5: what a cache needs, and nothing of the content."""
    kept = ("ETag", "Last-Modified", "Vary")
    fields = {name: value for name, value in found.fields().items() if name in kept}
    return Selection(304, fields)


def _refuse(status: int, text: bytes, fields: dict[str, str]) -> Selection:
    content_type = "text/plain; charset=utf-8"
    about: dict[str, str | int] = {**fields, "Content-Type": content_type}
    return Selection(status, {**about, "Content-Length": len(text)}, [], text)
