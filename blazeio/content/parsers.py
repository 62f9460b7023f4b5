"""Parsers of what is read as it arrives: multipart/form-data and text/event-stream.

**Multipart** (RFC 7578): octets in, fields and files out. The push parser of the
``multipart`` package does it; here it gets our bounds and our errors, and fields become
text. It refuses a delimiter that is followed by anything but a line end: by RFC 2046
section 5.1.1 none occurs in the content, and two readers could see the end of a part in
two places. A preamble, which mail has, is skipped before the parser sees it: whether
the package (2.0) takes something in it for the beginning depends on how the octets were
cut. The charset of a field, the names of files, and fields with parameters
(``parse_parameters``) are read here too.

**Server-sent events** (WHATWG HTML section 9.2): octets in, events out, however the
octets were cut. A line ends with CR, LF or CRLF; an event is returned with the line end
that completes it, though a LF may still follow its CR. An event that the end of the
stream cuts off is dropped, as the standard says: the server sends it again when the
client reconnects with ``last_event_id``.
"""

import codecs
import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserError,
    ParserLimitReached,
    PushMultipartParser,
)

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.grammar import TCHAR, quote

# Charsets of forms


# Those that browsers know (the Encoding standard), under Python's names too. An
# allow-list, since some of Python's take time that grows with the square.
_CHARSET = re.compile(
    r"utf-?8|(us-)?ascii|utf-?16([bl]e)?|iso-?8859-?\d\d?|latin-?1|windows-?125\d|"
    r"cp125\d|koi8-?[ru]|gbk|gb2312|gb18030|big5|shift[-_]?jis|euc-?jp|euc-?kr|"
    r"iso-?2022-?jp",
    re.IGNORECASE,
)


def find_charset(label: str) -> str | None:
    """Return Python's name of a charset; None where it is unknown, or not allowed.

    Args:
        label: As it was sent, in any case.
    """
    if not _CHARSET.fullmatch(label):
        return None
    try:
        return codecs.lookup(label).name
    except LookupError:  # iso-8859-99
        return None


# Names of files


LONGEST_BYTES = 255
"""NAME_MAX of Linux's file systems."""
NAMELESS = "upload"

# RFC 8187 section 3.2.1: ext-value = charset "'" [ language ] "'" value-chars
_EXTENDED = re.compile(
    r"(utf-8|iso-8859-1)'[^']*'([!#$&+\-.^_`|~0-9A-Za-z%]*)", re.IGNORECASE
)
# Controls, and characters that separate or have a meaning in some file system.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u2028\u2029]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)


def decode_extended(text: str) -> str | None:
    """Decode a ``filename*``; None when it is malformed.

    RFC 7578 section 4.2 forbids it in forms, but some clients send it where a name is
    not ASCII.
    """
    found = _EXTENDED.fullmatch(text)
    if found is None:
        return None
    return unquote_to_bytes(found[2]).decode(found[1], errors="replace")


def make_safe(filename: str) -> str:
    """Make a name that is one path component, and harmless as one.

    No separators, drives, controls or leading dots; not a reserved name of Windows;
    NFC; at most ``LONGEST_BYTES`` octets as UTF-8, with its extension. A file of that
    name may already exist.

    Returns:
        ``NAMELESS`` where nothing else is left.
    """
    name = unicodedata.normalize("NFC", filename).replace("\\", "/")
    name = _UNSAFE.sub("_", name.rpartition("/")[2])
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cf", "Cs"))
    name = name.lstrip(". ").rstrip(". ")
    if _RESERVED.match(name):
        name = f"_{name}"
    return _shortened(name) or NAMELESS


def _shortened(name: str) -> str:
    if len(name.encode()) <= LONGEST_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    suffix = f"{dot}{ending}".encode()
    if not stem or len(suffix) > LONGEST_BYTES // 2:
        stem, suffix = name, b""
    kept = stem.encode()[: LONGEST_BYTES - len(suffix)]
    return kept.decode(errors="ignore").rstrip(". ") + suffix.decode()


# Fields with parameters: ``multipart/form-data; boundary="x"``


# Without quotes more is accepted than a token: mail libraries write
# boundary=----=_Part_1, which has only one meaning.
_PARAMETER = re.compile(
    rf"[ \t]*+;[ \t]*+(?>(?:([{TCHAR}]++)="
    r'(?:"((?>(?:[^"\\]|\\.)*))"|([^;"\\ \t]++)))?)'
)
_QUOTED_PAIR = re.compile(r"\\(.)")


def parse_parameters(text: str) -> tuple[str, dict[str, str]]:
    """Split a field's value from its parameters: RFC 9110 section 5.6.6.

    Returns:
        The value in lower case, and the parameters by their lower-case names.

    Raises:
        ValueError: It is malformed, or names a parameter twice: two readers could
            understand two things.
    """
    value, _, _ = text.partition(";")
    position = len(value)
    end = len(text.rstrip(" \t"))
    parameters: dict[str, str] = {}
    while position < end:
        found = _PARAMETER.match(text, position)
        if found is None:
            raise ValueError("the parameters are malformed")
        position = found.end()
        name, quoted, plain = found.groups()
        if name is None:
            continue  # RFC 9110 allows an empty parameter
        if name.lower() in parameters:
            raise ValueError("a parameter is there twice")
        is_plain = quoted is None
        parameters[name.lower()] = (
            plain if is_plain else _QUOTED_PAIR.sub(r"\1", quoted)
        )
    return value.strip(" \t").lower(), parameters


MULTIPART = "multipart/form-data"

# RFC 2046 section 5.1.1 allows 1 to 70 of its bchars, and no space at the end. Old
# clients use others too ("----------ThIs_Is_tHe_bouNdaRY_$"), which all other readers
# accept.
_BOUNDARY = re.compile(r"[ -~]{0,69}[!-~]")
# A quote that is never closed reaches to the end: if it were skipped, each quote that
# follows would be searched again, which takes time that grows with the square.
_QUOTED = re.compile(r'"(?>(?:[^"\\]++|\\.)*)(?:"|\\?\Z)', re.DOTALL)
_UNREADABLE = re.compile(rb"[\r\n\0]")
_FILENAME_EXTENDED = re.compile(r";[ \t]*+filename\*=([^;\s]++)", re.IGNORECASE)


LINE_END_BYTES = 2


class Field(Struct, frozen=True):
    """A whole field.

    Attributes:
        name: The name of the field.
        value: Its text; octets that are not of its charset become U+FFFD.
    """

    name: str
    value: str


class FileHead(Struct, frozen=True):
    """The beginning of a file.

    Attributes:
        name: The name of the field.
        filename: As the client sent it; never use it as a path.
        content_type: As the client says, lower case, without parameters.
    """

    name: str
    filename: str
    content_type: str

    @property
    def safe_filename(self) -> str:
        """The name as one harmless path component; never empty."""
        return make_safe(self.filename)


Event = Field | FileHead | bytes | None
"""``bytes`` are octets of the present file; None is its end."""


def parse_boundary(content_type: str) -> str:
    """Return the boundary of a Content-Type of multipart/form-data.

    Raises:
        RemoteProtocolError: The peer's fault: there is no valid one.
    """
    try:
        boundary = parse_parameters(content_type)[1].get("boundary", "")
    except ValueError as error:
        message = f"the Content-Type of the form: {error}"
        raise RemoteProtocolError(message) from error
    if not _BOUNDARY.fullmatch(boundary):
        raise RemoteProtocolError("the Content-Type of the form has no valid boundary")
    return boundary


class _Parser(PushMultipartParser):  # type: ignore[misc] # it has no types
    """The package's parser, made to always refuse a bare LF in a part's head.

    The package accepts one in a head that comes in one piece, and refuses it where the
    octets are cut after it.
    """

    def _on_segment_headerline(self, line: bytes) -> None:
        if _UNREADABLE.search(line):
            raise ParserError("Invalid line break in segment header")
        super()._on_segment_headerline(line)


class MultipartDecoder:
    """Turns the octets of one form into events.

    Args:
        boundary: As ``parse_boundary`` returns it.
        limits: The ``form_*``, ``part_*`` and ``collected_bytes`` bounds.
    """

    __slots__ = (
        "_charset",
        "_file_count",
        "_held_head",
        "_is_file",
        "_limits",
        "_opening",
        "_parser",
        "_room_bytes",
        "_segment",
        "_skipped_bytes",
        "_start",
        "_value",
        "field_count",
    )

    def __init__(self, boundary: str, limits: Limits) -> None:
        self._parser = _Parser(
            boundary,
            max_header_size=limits.part_field_bytes,
            max_header_count=limits.part_field_count,
        )
        self._limits = limits
        self._opening = b"--" + boundary.encode("ascii")
        self._start: bytes | None = b"\r\n"  # as if a line had ended before
        self._skipped_bytes = 0
        self._segment: MultipartSegment | None = None
        self._is_file = False
        self._held_head: FileHead | None = None
        self._value = bytearray()
        self._charset = "utf-8"
        self._file_count = self.field_count = 0
        self._room_bytes = limits.collected_bytes

    def feed(self, octets: bytes) -> list[Event]:
        """Take the next octets; what follows the last delimiter is dropped.

        Raises:
            RemoteProtocolError: The peer's fault: the form is malformed (400), or
                beyond a bound (413). The decoder is of no use any more.
        """
        events: list[Event] = []
        if self._start is not None:
            octets = self._skip_preamble(self._start + octets)
        if not octets:
            return events
        try:
            for event in self._parser.parse(octets):
                if isinstance(event, MultipartSegment):
                    self._begin_part(event, events)
                elif event is None:
                    self._end_part(events)
                else:
                    self._take_content(event, events)
        except MultipartError as error:
            raise _mapped(error) from error
        return events

    def end(self) -> None:
        """End the form.

        Raises:
            RemoteProtocolError: The peer's fault: the last delimiter is missing.
        """
        if self._start is not None:
            raise RemoteProtocolError(
                "the form is malformed: its boundary is not in it"
            )
        try:
            self._parser.close()
        except MultipartError as error:
            raise _mapped(error) from error

    def _skip_preamble(self, octets: bytes) -> bytes:
        """Drop what stands before the first delimiter; return what begins with it.

        RFC 2046 section 5.1.1: it is at the beginning of a line. Anywhere else, readers
        could disagree about where the form begins.
        """
        opening = self._opening
        at = octets.find(opening)
        # What is kept may be the beginning of a delimiter, with the line end before it.
        end = at if at >= 0 else max(len(octets) - len(opening) - 1, 0)
        bound = self._limits.form_field_bytes
        if self._skipped_bytes + end > bound + 2 * LINE_END_BYTES:
            message = f"the preamble of the form is larger than {bound} octets"
            raise RemoteProtocolError(message, 413)
        if at < 0:
            self._skipped_bytes += end
            self._start = octets[end:]
            return b""
        if octets[max(at - 2, 0) : at] != b"\r\n":
            raise _missing_boundary()
        self._start = None
        return octets[at:]

    def _begin_part(self, segment: MultipartSegment, events: list[Event]) -> None:
        self._segment = segment
        filename = _filename_of(segment)
        self._is_file = filename is not None
        if filename is None:
            self.field_count += 1
            if self.field_count > self._limits.form_field_count:
                raise _too_many("fields", self._limits.form_field_count)
            return
        self._file_count += 1
        if self._file_count > self._limits.form_file_count:
            raise _too_many("files", self._limits.form_file_count)
        head = FileHead(segment.name, filename, segment.content_type or "")
        if filename:
            events.append(head)
        else:
            self._held_head = (
                head  # even if it is empty: an input that was not filled in
            )

    def _take_content(self, octets: bytes, events: list[Event]) -> None:
        if not self._is_file:
            self._value += octets
            if len(self._value) > self._limits.form_field_bytes:
                bound = self._limits.form_field_bytes
                message = f"a field of the form is larger than {bound} octets"
                raise RemoteProtocolError(message, 413)
            return
        if self._held_head is not None:
            events.append(self._held_head)
            self._held_head = None
        events.append(octets)

    def _end_part(self, events: list[Event]) -> None:
        if self._held_head is not None:
            self._held_head = None
        elif self._is_file:
            events.append(None)
        else:
            events.append(self._end_field())

    def _end_field(self) -> Field:
        segment = self._segment
        assert segment is not None  # a part begins before it ends
        self._room_bytes -= len(self._value) + len(segment.name)
        if self._room_bytes < 0:
            bound = self._limits.collected_bytes
            message = f"the fields of the form are larger than {bound} octets"
            raise RemoteProtocolError(message, 413)
        charset = _checked_charset(segment.charset or self._charset)
        value = self._value.decode(charset, errors="replace")
        self._value.clear()
        if segment.name == "_charset_" and value:  # RFC 7578 section 4.6
            self._charset = _checked_charset(value)
        return Field(segment.name, value)


def _filename_of(segment: MultipartSegment) -> str | None:
    disposition = segment.header("Content-Disposition", "")
    if "*" in disposition:
        found = _FILENAME_EXTENDED.search(_QUOTED.sub('""', disposition))
        extended = None if found is None else decode_extended(found[1])
        if extended is not None:
            return extended
    filename: str | None = segment.filename
    return filename


def _checked_charset(label: str) -> str:
    charset = find_charset(label)
    if charset is not None:
        return charset
    message = f"the form has a field in an unknown charset, {quote(label)}"
    raise RemoteProtocolError(message)


def _missing_boundary() -> RemoteProtocolError:
    return RemoteProtocolError("the form does not begin with its boundary")


def _too_many(what: str, bound: int) -> RemoteProtocolError:
    """Make the error of a form with more fields or files than a bound."""
    return RemoteProtocolError(f"the form has more than {bound} {what}", 413)


def _mapped(error: MultipartError) -> RemoteProtocolError:
    status = 413 if isinstance(error, ParserLimitReached) else 400
    return RemoteProtocolError(f"the form is malformed: {error}", status)


# text/event-stream


EVENT_BYTES: Final = 1024 * 1024
"""The bound of a line, and of the data of one event, octets."""
ID_BYTES: Final = 4 * 1024
"""The bound of an id, octets. A client sends it as a field of its next request; a
longer one is ignored, since no server would read it."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"
# "Only ASCII digits"; nine of them are eleven days, and the integer stays small.
_RETRY: Final = re.compile(r"[0-9]{1,9}")


class ServerSentEvent(Struct, frozen=True):
    """One event of ``resp.events()``.

    Attributes:
        data: Its lines, joined by LF.
        event: Its type.
        event_id: The last id that the stream has set, here or before; "" where it has
            set none.
    """

    data: str
    event: str = "message"
    event_id: str = ""


class EventStreamParser:
    """Turns the octets of one stream into events.

    Args:
        last_event_id: Of the stream that this one continues.
        event_bytes: The bound of a line, and of the data of one event, octets.

    Attributes:
        last_event_id: The id of the last event; the client sends it when it reconnects.
        retry_s: How long the client waits before it reconnects, seconds; None: its own
            choice.
    """

    __slots__ = (
        "_data",
        "_data_bytes",
        "_ends_with_cr",
        "_event",
        "_event_bytes",
        "_event_id",
        "_is_at_start",
        "_line",
        "last_event_id",
        "retry_s",
    )

    def __init__(self, last_event_id: str = "", event_bytes: int = EVENT_BYTES) -> None:
        self.last_event_id = self._event_id = last_event_id
        self.retry_s: float | None = None
        self._event_bytes = event_bytes
        self._line = bytearray()  # a list of tiny pieces would take 40 times the memory
        self._ends_with_cr = False
        self._is_at_start = True
        self._event = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, octets: bytes) -> list[ServerSentEvent]:
        """Take the next octets; return the events that they complete.

        Raises:
            RemoteProtocolError: The peer's fault: a line or an event is too large. The
                parser is of no use any more.
        """
        events: list[ServerSentEvent] = []
        if not octets:
            return events
        # The line ended with the CR; the LF that has come since is the rest of that
        # line end and no empty line, which would end the event.
        start = int(self._ends_with_cr and octets.startswith(b"\n"))
        self._ends_with_cr = octets.endswith(b"\r")
        *ended, rest = _LINE_END.split(octets[start:])
        for piece in ended:
            self._add_to_line(piece)
            line = bytes(self._line)
            self._line.clear()
            self._take_line(line, events)
        self._add_to_line(rest)
        return events

    def _add_to_line(self, piece: bytes) -> None:
        self._line += piece
        if len(self._line) > self._event_bytes:
            raise self._too_large("a line of the event stream")

    def _take_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._is_at_start:
            # The standard's grammar: one byte order mark may be in front of the whole
            # stream.
            line = line.removeprefix(_BOM)
            self._is_at_start = False
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        if name:  # else it is a comment
            text = value.removeprefix(b" ").decode(errors="replace")
            self._take_field(name, text, len(value))

    def _take_field(self, name: bytes, value: str, size: int) -> None:
        match name:
            case b"data":
                self._data.append(value)
                self._data_bytes += size + 1
                if self._data_bytes > self._event_bytes:
                    raise self._too_large("an event")
            case b"event":
                self._event = value
            # The standard ignores an id with NUL, which no field value may hold.
            case b"id" if "\0" not in value and size <= ID_BYTES:
                self._event_id = value
            case b"retry" if _RETRY.fullmatch(value):
                self.retry_s = int(value) / 1000
            case _:
                pass  # "Otherwise, the field is ignored"

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        """End an event, at an empty line; without data only its id counts."""
        # Set by an event without data as well: so a server moves its clients on.
        self.last_event_id = self._event_id
        if self._data:
            data = "\n".join(self._data)
            event = self._event or "message"
            events.append(ServerSentEvent(data, event, self.last_event_id))
        self._data, self._data_bytes, self._event = [], 0, ""

    def _too_large(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"{what} is larger than {self._event_bytes} octets")
