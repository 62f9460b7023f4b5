"""Forms and JSON: query strings, urlencoded and multipart content; JSON of a peer.

A multipart form (RFC 7578) is only framed here: the octets around its files are made,
and the sender puts the content of each file between them, so that no file has to be in
memory. ``content.parsers`` reads such forms.

JSON is UTF-8, and a reader may ignore a byte order mark (RFC 8259 section 8.1). Servers
send one all the same, and some send UTF-16.
"""

import codecs
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlencode

import msgspec
from msgspec import Struct

from blazeio.content.field_values import guess_media_type
from blazeio.content.parsers import MULTIPART
from blazeio.errors import InvalidArgument, LocalProtocolError
from blazeio.wire.grammar import FIELD_VALUE

UNQUOTED_STEP_CHARS = 64 * 1024
"""Longer text is decoded in steps of this many characters."""

FormValue = str | bytes | int | float
_VALUES = (str, bytes, int, float)
FormInput = (
    Mapping[str, "FormValue | Sequence[FormValue]"]
    | Iterable[tuple[str, "FormValue | Sequence[FormValue]"]]
)
"""The fields of a form as a caller writes them; a sequence repeats the field."""


class Params(dict[str, str]):
    """The fields of a form or query string, by name.

    A repeated field has its last value, as in most frameworks: a client that repeats
    one cannot turn a str into a list. ``get_all`` returns every value.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All fields in order, with repeated ones; a copy."""
        return self._pairs.copy()

    def get_all(self, name: str) -> list[str]:
        """Return every value of a field, in order; [] when there is none."""
        return [value for key, value in self._pairs if key == name]

    def add(self, name: str, value: str) -> None:
        """Add a field after the others."""
        self._pairs.append((name, value))
        self[name] = value


def parse_urlencoded(text: str, field_count: int) -> Params:
    """Parse ``a=1&b=2``, as HTML forms and query strings write it.

    Fields without a value are kept as ""; octets that are not UTF-8 become U+FFFD.

    Args:
        text: Without a leading "?".
        field_count: Most fields.

    Raises:
        ValueError: The peer's fault: there are more.
    """
    if not text:
        return Params([])
    if len(text) <= UNQUOTED_STEP_CHARS:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="replace", max_num_fields=field_count
        )
        return Params(pairs)
    # Counted before anything is made of it: a megabyte of "&" is a million fields.
    if text.count("&") >= field_count:
        raise ValueError("Max number of fields exceeded")
    fields = (each.partition("=") for each in text.split("&") if each)
    return Params([(_unquote(name), _unquote(value)) for name, _, value in fields])


def _unquote(text: str) -> str:
    """Percent-decode step by step.

    The standard library's function makes an object for each escape: 16 MiB of them
    would take 300 MiB.
    """
    text = text.replace("+", " ")
    if len(text) <= UNQUOTED_STEP_CHARS:
        return unquote(text, errors="replace")
    octets = bytearray()
    at = 0
    while at < len(text):
        end = at + UNQUOTED_STEP_CHARS
        escape = text.find("%", end - 2, end)  # an escape must not be cut
        end = escape if escape >= 0 else end
        octets += unquote_to_bytes(text[at:end])
        at = end
    return octets.decode(errors="replace")


def iterate_fields(
    form: FormInput, what: str = "form"
) -> Iterator[tuple[str, FormValue]]:
    """Iterate over the fields, each with one value, in order.

    Args:
        form: As a caller has written them.
        what: The name of the argument, for the error.

    Raises:
        InvalidArgument: They are no names and values, or a value has a wrong type; says
            which.
    """
    # A dict directly: 1 us less.
    pairs = form.items() if isinstance(form, dict) else _iterate_pairs(form, what)
    for name, value in pairs:
        if isinstance(value, _VALUES):
            yield name, value
            continue
        if value is None:
            message = "is None: leave it out, or give an empty str"
            raise InvalidArgument(f"{what}: the value of {name!r} {message}")
        several = isinstance(value, Sequence)
        for each in value if several else (value,):
            if not isinstance(each, _VALUES):
                kind = type(each).__name__
                message = f"expected str, bytes, int, float or a list, not {kind}"
                raise InvalidArgument(f"{what}: the value of {name!r}: {message}")
            yield name, each


def _iterate_pairs(form: FormInput, what: str) -> Iterator[tuple[str, Any]]:
    pairs = form.items() if isinstance(form, Mapping) else form
    if isinstance(pairs, str | bytes | bytearray) or not isinstance(pairs, Iterable):
        message = f"{what}: expected a dict or pairs, not {type(form).__name__}"
        raise InvalidArgument(message)
    for pair in pairs:
        if isinstance(pair, str | bytes) or not isinstance(pair, Sequence):
            message = f"{what}: expected pairs of name and value, not "
            raise InvalidArgument(message + type(pair).__name__)
        # A name that is a list would be written as Python shows it.
        if len(pair) != 2 or not isinstance(pair[0], _VALUES):
            message = f"{what}: expected pairs of name and value"
            raise InvalidArgument(message)
        name: Any = pair[0]
        yield name, pair[1]


def serialize_urlencoded(form: FormInput, what: str = "form") -> str:
    """Serialize ``a=1&b=2``, for a query string or as content; str is UTF-8.

    Raises:
        InvalidArgument: As ``iterate_fields``; or text that UTF-8 cannot encode.
    """
    try:
        return urlencode(list(iterate_fields(form, what)))
    except UnicodeEncodeError:
        message = f"{what}: text that UTF-8 cannot say (a lone surrogate)"
        raise InvalidArgument(message) from None


# Multipart forms


Content = TypeVar("Content")

_DISPOSITION: Final = 'Content-Disposition: form-data; name="'


class FilePart(Struct, Generic[Content], frozen=True):
    """A file of a form.

    Attributes:
        name: The name of the field.
        filename: The name of the file for the server.
        content: Anything that the sender can read.
        size_bytes: The size of the content; None where it is not known.
        content_type: None: guessed by the filename.
    """

    name: str
    filename: str
    content: Content
    size_bytes: int | None = None
    content_type: str | None = None


class ComposedForm(Struct, Generic[Content], frozen=True):
    """A form with its framing.

    Attributes:
        content_type: The value of Content-Type, with the boundary.
        files: The octets before each file, and the file.
        ending: The octets after the last one.
    """

    content_type: str
    files: list[tuple[bytes, FilePart[Content]]]
    ending: bytes

    @property
    def size_bytes(self) -> int | None:
        """The size of the whole content; None where the size of a file is not known."""
        size = len(self.ending)
        for before, file in self.files:
            if file.size_bytes is None:
                return None
            size += len(before) + file.size_bytes
        return size


def compose_form(
    fields: FormInput, files: Iterable[FilePart[Content]], boundary: str
) -> ComposedForm[Content]:
    """Frame a form: its fields first, so that a server has them before a file.

    Args:
        fields: Text; str is UTF-8, as browsers send it.
        files: In order.
        boundary: Random, so that no content can contain it on purpose; of characters
            that need no quotes.

    Raises:
        LocalProtocolError: The caller's fault: a media type holds a line end.
    """
    delimiter = f"--{boundary}\r\n"
    octets: list[bytes] = []
    for name, value in iterate_fields(fields):
        content = value if isinstance(value, bytes) else str(value).encode()
        # RFC 7578 section 4.4: a text has no Content-Type; it is of the form's charset.
        head = f'{delimiter}{_DISPOSITION}{_escape(name)}"\r\n\r\n'
        octets += [head.encode(), content, b"\r\n"]
    framed = []
    for file in files:
        head = (
            f'{delimiter}{_DISPOSITION}{_escape(file.name)}"; '
            f'filename="{_escape(file.filename)}"\r\n'
            f"Content-Type: {_checked_type(file)}\r\n\r\n"
        )
        framed.append((b"".join([*octets, head.encode()]), file))
        octets = [b"\r\n"]
    ending = b"".join([*octets, f"--{boundary}--\r\n".encode()])
    return ComposedForm(f"{MULTIPART}; boundary={boundary}", framed, ending)


def _checked_type(file: FilePart[Content]) -> str:
    media_type = file.content_type or guess_media_type(file.filename)
    # A line end in it would add a field to the part, or end its head.
    if not FIELD_VALUE.fullmatch(media_type):
        message = f"file {file.name!r}: {media_type!r} is not a media type"
        raise LocalProtocolError(message)
    return media_type


def _escape(text: str) -> str:
    """Escape a name as browsers do (WHATWG HTML), since RFC 7578 is vague."""
    # Neither a quote nor a line end may end the parameter early: a file name is often
    # the choice of somebody else.
    return text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")


# JSON of a peer


LARGE_BYTES: Final = 32 * 1024
"""From this size on the collector is off while the values are made."""

ValueT = TypeVar("ValueT")

# The mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FIRST_OCTETS: Final = frozenset(mark[:1] for mark, _ in _MARKS)


def read_json(octets: bytes, expected: Any = Any) -> Any:
    """Read JSON as a value of a type.

    Args:
        octets: UTF-8, or what a byte order mark says.
        expected: The type, as ``msgspec`` knows it; default: anything.

    Raises:
        ValueError: The peer's fault: it is no JSON, not of that type, or nested deeper
            than can be read.
        TypeError: ``msgspec`` does not know the type.
    """
    try:
        if octets[:1] in _FIRST_OCTETS:
            octets = _without_mark(octets)
        return decode_without_gc(msgspec.json.decode, octets, type=expected)
    # Some hundred KiB of "[" reach the interpreter's own bound: a fault of the peer.
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def decode_without_gc(
    decode: Callable[..., ValueT], octets: bytes, **options: Any
) -> ValueT:
    """Decode with Python's cyclic collector turned off.

    Every 700 new lists start a collection, and as their number grows, everything that
    the process has is traversed again and again: 900 kB of ``[],`` took 80 ms of the
    loop in a small service, and take 15.

    Args:
        decode: Called with the octets and the options.
    """
    # Where somebody has turned it off, it must stay so afterwards.
    if len(octets) < LARGE_BYTES or not gc.isenabled():
        return decode(octets, **options)
    gc.disable()
    try:
        return decode(octets, **options)
    finally:
        gc.enable()


def _without_mark(octets: bytes) -> bytes:
    for mark, encoding in _MARKS:
        if octets.startswith(mark):
            return octets.decode(encoding).encode()
    return octets
