"""The loggers of this package, which stay enabled whatever an app configures.

``logging.config.dictConfig`` and ``fileConfig`` disable every logger that exists and
that they do not name, unless ``disable_existing_loggers`` is False. An app that follows
the examples of the standard library would so lose the tracebacks of its own handlers.
Level, handlers and propagation of these loggers are the app's to set, by their names
(``blazeio`` is the parent of all); they cannot be disabled by accident.

A method, a target, a reason phrase or the text of an exception may hold what a terminal
obeys (ESC, C1), what ends a line and begins another that looks like ours (LF, U+2028),
and what shows text in another order than it has (bidi controls). Such arguments of a
record are escaped (``\\x1b``, ``\\u202e``), so that each is one line and plain text for
every handler of the app. To escape twice changes nothing.
"""

import logging
import re
from typing import Any

# Escaping


_INVISIBLE = (
    "\x7f-\x9f"  # DEL and C1: 0x9b alone begins a control sequence
    "\xad\u061c\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f"  # line ends, bidi controls
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_SURROGATES = "\ud800-\udfff"
_NOT_ON_A_LINE = re.compile(f"[\x00-\x1f{_INVISIBLE}{_SURROGATES}]")
_NOT_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_INVISIBLE}{_SURROGATES}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escape_line(text: object) -> str:
    """Escape a text, or the ``str`` of another object, to one line."""
    return _NOT_ON_A_LINE.sub(_escape, str(text))


def escape_lines(text: str) -> str:
    """Escape a text, but keep its line ends and tabs."""
    return _NOT_IN_LINES.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in _SHORT:
        return _SHORT[match[0]]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_TRACEBACKS = logging.Formatter()


class Lines:
    """A text of several lines, such as a traceback, as an argument of a record."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return escape_lines(self._text)


class _Plain:
    """Another object, whose text is escaped when it is used."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return escape_line(self._value)

    def __repr__(self) -> str:
        return escape_line(repr(self._value))


def _make_plain(value: object) -> object:
    if isinstance(value, int | float | Lines):
        return value
    return escape_line(value) if isinstance(value, str) else _Plain(value)


class _LastingLogger(logging.Logger):
    @property
    def disabled(self) -> bool:
        """Always False; see the module."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass  # dictConfig sets it to False, too, where the app names the logger

    def makeRecord(self, *given: Any, **named: Any) -> logging.LogRecord:  # noqa: N802 - logging's
        """Make a record whose arguments are plain text; called by ``logging``.

        Its traceback is escaped too: formatters of the standard library use the text
        that a record already has.
        """
        record = super().makeRecord(*given, **named)
        if isinstance(record.args, tuple):
            record.args = tuple(map(_make_plain, record.args))
        if record.exc_info and record.exc_info[0] is not None:
            text = _TRACEBACKS.formatException(record.exc_info)
            record.exc_text = escape_lines(text)
        return record


def get_logger(name: str) -> logging.Logger:
    """Return a logger of this package, such as ``blazeio.server``."""
    logger = logging.getLogger(name)
    logger.__class__ = _LastingLogger  # the manager keeps one object for each name
    return logger
