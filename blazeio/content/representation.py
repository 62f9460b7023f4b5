"""From a request for a representation to status, fields and parts.

``select`` answers GET and HEAD: it evaluates the preconditions (RFC 9110 section 13) by
the validators of the representation (section 8.8), and the ranges (section 14). Where
section 14 leaves a choice, the answer is nginx's:

* A malformed set is rejected, 416.
* A range of which nothing exists is ignored; where no other is left: 416.
* Ranges that overlap so much that they are more than the whole: the whole.

``choose_for`` says in the fields of a response that its content is encoded as it is
written.
"""

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache

from msgspec import Struct, field
from msgspec.structs import replace

from blazeio.content.codings import AVAILABLE, choose_coding
from blazeio.content.field_values import parse_http_date, serialize_http_date
from blazeio.wire.headers import FieldBlock, serialize_field

# Validators: RFC 9110 section 8.8


# entity-tag, RFC 9110 section 8.8.3; a list of them may have anything in between.
_ENTITY_TAG = re.compile(r'(?P<weak>W/)?(?P<opaque>"[\x21\x23-\x7e\x80-\xff]*")')


class Validators(Struct, frozen=True):
    """What distinguishes this state of a resource from every other.

    Attributes:
        etag: An entity tag, with its quotes; strong unless it starts with ``W/``.
        modified_s: When it was last changed, Unix time in whole seconds.
    """

    etag: str
    modified_s: int

    @property
    def last_modified(self) -> str:
        """The value of Last-Modified."""
        return _write_date(self.modified_s)


# The same files are requested again and again: 0.1 us instead of 3.
_write_date = lru_cache(maxsize=1024)(serialize_http_date)


def make_etag(modified_ns: int, size_bytes: int, coding: str | None = None) -> str:
    """Make the strong entity tag of a file as it is sent.

    Equal on every machine that has the file with this time and size.

    Args:
        modified_ns: When it was changed, nanoseconds of Unix time.
        size_bytes: Its size.
        coding: The content coding, which makes different octets of it: RFC 9110 section
            8.8.3.3.
    """
    # nginx's form, with nanoseconds: they tell changes within a second apart. A
    # coding makes other octets, and ranges of both must never be put together.
    mark = f"-{coding}" if coding else ""
    return f'"{modified_ns:x}-{size_bytes:x}{mark}"'


def is_weakly_equal(one: str, other: str) -> bool:
    """Compare entity tags, ignoring ``W/``: RFC 9110 section 8.8.3.2."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def is_strongly_equal(one: str, other: str) -> bool:
    """Tell whether entity tags are equal and strong: RFC 9110 section 8.8.3.2."""
    return one == other and not one.startswith("W/")


def parse_etags(value: str) -> list[str]:
    """Read the entity tags of If-Match or If-None-Match.

    Anything else is skipped: it cannot be equal to one of ours.
    """
    return [match[0] for match in _ENTITY_TAG.finditer(value)]


def is_etag(value: str) -> bool:
    """Tell whether a value is one entity tag and nothing else."""
    return _ENTITY_TAG.fullmatch(value) is not None


# Preconditions: RFC 9110 section 13


class Verdict(IntEnum):
    """The result of the preconditions; except for PERFORM, a status code."""

    PERFORM = 0
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412


def evaluate(
    method: str, fields: Mapping[str, str], current: Validators, now_s: float
) -> Verdict:
    """Evaluate the preconditions of a request in their order of precedence.

    RFC 9110 section 13.2.2. A field with an invalid date is ignored.

    Args:
        method: The method of the request.
        fields: Its combined values, by lower-case name.
        current: The validators of what would be sent.
        now_s: Unix time.
    """
    # RFC 9110 section 13.2.2, steps 1 and 2: what protects against a lost update comes
    # before what saves a transfer.
    if not _holds_for_change(fields, current, now_s):
        return Verdict.PRECONDITION_FAILED
    is_read = method in ("GET", "HEAD")
    value = fields.get("if-none-match")
    # Step 3: If-None-Match overrides If-Modified-Since, whose seconds are too coarse: a
    # cache that sends both means the tag.
    if value is not None:
        if not _lists(value, current.etag, is_weakly_equal):
            return Verdict.PERFORM
        return Verdict.NOT_MODIFIED if is_read else Verdict.PRECONDITION_FAILED
    # Step 4: for GET and HEAD alone (section 13.1.3).
    since_s = _read_date(fields, "if-modified-since", now_s) if is_read else None
    if since_s is not None and current.modified_s <= since_s:
        return Verdict.NOT_MODIFIED
    return Verdict.PERFORM


def _holds_for_change(
    fields: Mapping[str, str], current: Validators, now_s: float
) -> bool:
    """Evaluate If-Match, or If-Unmodified-Since where it is absent."""
    value = fields.get("if-match")
    if value is not None:
        # Section 13.1.1: the strong comparison, since the octets have to be the same
        # for a change to be made on top of them.
        return _lists(value, current.etag, is_strongly_equal)
    since_s = _read_date(fields, "if-unmodified-since", now_s)
    return since_s is None or current.modified_s <= since_s


def holds_for_range(value: str, current: Validators, now_s: float) -> bool:
    """Evaluate If-Range; False: the whole is sent. RFC 9110 section 13.1.5.

    Args:
        value: The value of the field.
        current: The validators of what would be sent.
        now_s: Unix time. A date does not distinguish changes within one second (section
            8.8.2.2), so one of this second is no strong validator.
    """
    # Section 13.1.5: the strong comparison. A part of one state behind a part of
    # another would make a file that never existed.
    if is_etag(value):
        return is_strongly_equal(value, current.etag)
    since_s = parse_http_date(value, now_s)
    return since_s == current.modified_s and current.modified_s + 1 <= now_s


def _lists(value: str, etag: str, is_equal: Callable[[str, str], bool]) -> bool:
    if value.strip(" \t") == "*":
        return True  # there is a representation
    return any(is_equal(each, etag) for each in parse_etags(value))


def _read_date(fields: Mapping[str, str], name: str, now_s: float) -> int | None:
    value = fields.get(name)
    return None if value is None else parse_http_date(value, now_s)


# Ranges: RFC 9110 section 14


MOST_RANGES = 64
"""How many ranges a request may have; with more it gets the whole (RFC 9110 section
17.15)."""

_SET = re.compile(r"bytes=(?P<ranges>.+)", re.IGNORECASE)
_DIGITS = 18
"""Numbers with more digits are beyond every file: 2**63 has 19."""
_RANGE = re.compile(
    rf"[ ]*(?:(?P<first>[0-9]{{1,{_DIGITS}}})[ ]*-[ ]*(?P<last>[0-9]{{1,{_DIGITS}}})?"
    rf"|-(?P<suffix>[0-9]{{1,{_DIGITS}}}))[ ]*"
)


class ByteRange(Struct, frozen=True):
    """A part that exists.

    Attributes:
        first: Offset of its first octet.
        size: Its octets; at least one.
    """

    first: int
    size: int

    def content_range(self, whole_bytes: int) -> str:
        """Return the value of Content-Range."""
        return f"bytes {self.first}-{self.first + self.size - 1}/{whole_bytes}"


class RangeNotSatisfiableError(Exception):
    """The set is malformed, or nothing of it exists: 416."""


def decide_ranges(value: str, whole_bytes: int) -> list[ByteRange] | None:
    """Decide which parts answer a Range field.

    Args:
        value: The value of the field.
        whole_bytes: The size of the representation.

    Returns:
        The parts, in the order of the request; None: the whole.

    Raises:
        RangeNotSatisfiableError: See the class.
    """
    match = _SET.fullmatch(value)
    if match is None:
        return None  # another unit must be ignored; an empty set is ignored as in nginx
    # At most one split more than is allowed: the field may have 64 KiB of commas.
    # CVE-2011-3192 (Apache Killer) was a thousand ranges that overlap.
    members = match["ranges"].split(",", MOST_RANGES)
    if len(members) > MOST_RANGES:
        return None
    ranges = []
    for member in members:
        part = _parse_range(member, whole_bytes)
        if part is not None:
            ranges.append(part)
        elif not whole_bytes:
            return None  # of an empty representation, the whole is as good as a part
    if not ranges:
        raise RangeNotSatisfiableError
    # Section 14.2: ranges that overlap may be a waste or an attack; what is more than
    # the whole is answered by the whole.
    if sum(part.size for part in ranges) > whole_bytes:
        return None
    return ranges


def _parse_range(member: str, whole_bytes: int) -> ByteRange | None:
    match = _RANGE.fullmatch(member)
    if match is None:
        raise RangeNotSatisfiableError
    if match["suffix"] is not None:
        # Section 14.1.2: a suffix longer than the content means all of it; one of 0
        # octets cannot be satisfied.
        size = min(int(match["suffix"]), whole_bytes)
        return ByteRange(whole_bytes - size, size) if size else None
    first = int(match["first"])
    last = int(match["last"]) if match["last"] is not None else whole_bytes
    # Offsets are inclusive (section 14.1.2), and a last one behind the end is no error.
    size = min(last, whole_bytes - 1) - first + 1
    return ByteRange(first, size) if size > 0 else None


class Multipart(Struct, frozen=True):
    """The parts of a multipart/byteranges content: RFC 9110 section 14.6.

    Attributes:
        parts: The octets before each part, and the part.
        ending: The octets after the last one.
    """

    parts: list[tuple[bytes, ByteRange]]
    ending: bytes

    @property
    def size_bytes(self) -> int:
        """The size of the whole content."""
        sizes = (len(before) + part.size for before, part in self.parts)
        return sum(sizes) + len(self.ending)


def compose_multipart(
    ranges: list[ByteRange], whole_bytes: int, media_type: str, boundary: str
) -> Multipart:
    """Frame several parts.

    Args:
        ranges: The parts.
        whole_bytes: The size of the representation.
        media_type: Its media type.
        boundary: Random, so that no file can contain it on purpose.
    """
    parts = [
        (
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: {part.content_range(whole_bytes)}\r\n\r\n".encode(),
            part,
        )
        for part in ranges
    ]
    return Multipart(parts, f"\r\n--{boundary}--\r\n".encode())


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
"""The fields that are evaluated here: a request without them gets the whole."""


class Representation(Struct, frozen=True):
    """What a GET without conditions would get.

    Attributes:
        media_type: The value of Content-Type.
        size_bytes: The size of the content.
        validators: The validators of its present state.
        coding: Its content coding; None: it has none.
        is_negotiated: Another Accept-Encoding may get other octets.
    """

    media_type: str
    size_bytes: int
    validators: Validators
    coding: str | None = None
    is_negotiated: bool = False

    def fields(self) -> dict[str, str | int]:
        """The fields of the representation, but for its size."""
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
    """The response.

    Attributes:
        status: 200, 206, 304, 412 or 416.
        fields: With Content-Length, except in a 304.
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
        method: Preconditions and ranges count for GET and HEAD; any other method gets
            the whole.
        asked: The fields of the request, combined, by lower-case name.
        found: The representation.
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
        # Section 15.5.17: it says how large the content is now, so that a client whose
        # partial file is longer begins anew.
        content_range = {"Content-Range": f"bytes */{found.size_bytes}"}
        return _refuse(416, b"Range Not Satisfiable", content_range)
    if ranges is None:
        return _select_whole(found)
    # Section 15.3.7.2: one part alone must not be sent as multipart, which many clients
    # do not read.
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
    """Return a 304, with the fields that a cache needs: RFC 9110 section 15.4.5."""
    # Content-Length would be that of a 200 and is left out: some clients wait for it.
    kept = ("ETag", "Last-Modified", "Vary")
    fields = {name: value for name, value in found.fields().items() if name in kept}
    return Selection(304, fields)


def _refuse(status: int, text: bytes, fields: dict[str, str]) -> Selection:
    content_type = "text/plain; charset=utf-8"
    about: dict[str, str | int] = {**fields, "Content-Type": content_type}
    return Selection(status, {**about, "Content-Length": len(text)}, [], text)


# The head of a response whose content is encoded as it is written


_NO_CONTENT = (204, 205, 304)
"""Responses without content, which cannot be encoded."""

_AS_IT_IS = frozenset(
    ("content-digest", "content-encoding", "content-md5", "content-range", "digest")
)
"""Fields that describe the octets of the content as they are: it is not encoded."""

_STRONG_ETAG = re.compile(rb'(?im)^(etag: )(?=")')
_NO_TRANSFORM = re.compile(rb"(?im)^cache-control:[^\r]*\bno-transform\b")
_VARY = re.compile(rb"(?im)^vary:[^\r]*(?:\baccept-encoding\b|\*)")


def _forbids_transform(block: FieldBlock) -> bool:
    has_it = "cache-control" in block.names
    return has_it and _NO_TRANSFORM.search(block.lines) is not None


def _varies_by_coding(block: FieldBlock) -> bool:
    return "vary" in block.names and _VARY.search(block.lines) is not None


def choose_for(
    block: FieldBlock, status: int, accept_encoding: str | None
) -> tuple[FieldBlock, str | None]:
    """Choose the content coding of a response, and say it in its fields.

    Content is not encoded where it is encoded already, where it is a range or has a
    digest, and where Cache-Control says ``no-transform`` (RFC 9110 section 7.7). An
    ETag becomes weak where a coding was chosen, since not all clients are sent the same
    octets then (section 8.8.3.3). The response to HEAD has the head of the one to GET,
    and a 304 has its ETag; content that is not sent is not encoded.

    Args:
        block: Its own fields.
        status: Of the response.
        accept_encoding: The field of the request; None when it was not sent.

    Returns:
        Its fields; and the coding, None for content as it is.
    """
    coding = None
    if not (status == 206 or block.names & _AS_IT_IS or _forbids_transform(block)):
        coding = choose_coding(accept_encoding, AVAILABLE)
    lines = b"" if _varies_by_coding(block) else b"Vary: Accept-Encoding\r\n"
    if coding is not None:
        weak = _STRONG_ETAG.sub(rb"\1W/", block.lines)
        block = replace(block, lines=weak, content_length=None)
        if status not in _NO_CONTENT:
            lines += serialize_field("Content-Encoding", coding)
    return replace(block, lines=block.lines + lines), coding
