r"""What others said, written so that it can only be read: one function a kind of sink.

A worker's words, an exception's text, a path or the name of a process may hold
what a terminal obeys (ESC, C1), what ends a line and begins another that looks
like ours (LF, U+2028), and what shows text in another order than it has (bidi
controls). Each becomes its escape, ``\x1b``, ``\u202e``, where the text is
written: into an event, a line of the log, a terminal, JSON, a label. An escape
is plain text, so that to escape twice changes nothing.

``blazeio.loggers`` has the same table, for who uses blazeio alone. Pure.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

_INVISIBLE = (
    "\x7f-\x9f"  # DEL and C1: 0x9b alone begins a control sequence
    "\xad\u061c\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f"  # ends of lines, bidi controls
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_SURROGATES = "\ud800-\udfff"
_NOT_ON_A_LINE = re.compile(f"[\x00-\x1f{_INVISIBLE}{_SURROGATES}]")
_NOT_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_INVISIBLE}{_SURROGATES}]")
_NOT_IN_JSON = re.compile(f"[{_INVISIBLE}]")
_SURROGATE = re.compile(f"[{_SURROGATES}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

CONTINUATION = "  | "
"""Before each further line of a record: no line end of a text begins a record."""

_OF_SEVERAL_LINES = frozenset({"traceback", "output"})
"""Fields of answers that hold the lines of a traceback; ``text`` does where the
answer's class says so by ``lines``."""

ValueT = TypeVar("ValueT")


def escape_line(text: str) -> str:
    """Write a text on one line."""
    return _NOT_ON_A_LINE.sub(_escape, text)


def escape_lines(text: str) -> str:
    """Write a text whose line ends and tabs are meant."""
    return _NOT_IN_LINES.sub(_escape, text)


def continue_lines(text: str) -> str:
    """Write the further lines of a record, each marked as such."""
    lines = escape_lines(text.rstrip("\n")).split("\n")
    return "\n".join(f"{CONTINUATION}{line}" for line in lines)


def encode_json(value: Any) -> bytes:
    """Write a value as JSON, all of it: what reads it has the same strings.

    But for lone surrogates, which are no text and come as their escapes.
    """
    try:
        octets = msgspec.json.encode(value)
    except UnicodeEncodeError:
        told = msgspec.to_builtins(value)
        octets = msgspec.json.encode(escape_surrogates(told))
    if octets.isascii() and b"\x7f" not in octets:
        return octets
    return escape_json(octets.decode()).encode()


def escape_json(text: str) -> str:
    """Write JSON, or another notation with its escapes, for a terminal.

    Outside of strings JSON has none of these characters.
    """
    return _NOT_IN_JSON.sub(_escape_for_json, text)


def escape_answer(answer: ValueT) -> ValueT:
    """Give an answer, or another value, as it is shown: each text on one line.

    The fields that hold several lines keep them.
    """
    return map_texts(answer, escape_line)  # type: ignore[no-any-return]


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or _write(ord(match[0]))


def _write(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_for_json(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def escape_surrogates(value: ValueT) -> ValueT:
    """Give a value whose texts are Unicode: lone surrogates become their escapes."""
    return map_texts(value, _escape_each)  # type: ignore[no-any-return]


def _escape_each(text: str) -> str:
    return _SURROGATE.sub(_escape, text)


def map_texts(value: Any, escape: Callable[[str], str]) -> Any:
    """Give a value with each text in it, keys too, as a function writes it."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {
            map_texts(key, escape): map_texts(each, escape)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)([map_texts(each, escape) for each in value])
    if isinstance(value, msgspec.Struct):
        return _map_fields(value, escape)
    return value


def _map_fields(struct: msgspec.Struct, escape: Callable[[str], str]) -> msgspec.Struct:
    several = _OF_SEVERAL_LINES | getattr(type(struct), "lines", frozenset())
    changes = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        by = escape_lines if name in several and escape is escape_line else escape
        changes[name] = map_texts(value, by)
    return msgspec.structs.replace(struct, **changes)
