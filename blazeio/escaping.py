r"""What peers said, written so that it can only be read.

A method, a target, a reason phrase or the text of an exception may hold what a
terminal obeys (ESC, C1), what ends a line and begins another that looks like
ours (LF, U+2028), and what shows text in another order than it has (bidi
controls). Each becomes its escape, ``\x1b``, ``\u202e``, where the text is
written. An escape is plain text, so that to escape twice changes nothing. Pure.
"""

import re

_INVISIBLE = (
    "\x7f-\x9f"  # DEL and C1: 0x9b alone begins a control sequence
    "\xad\u061c\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f"  # ends of lines, bidi controls
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_SURROGATES = "\ud800-\udfff"
_NOT_ON_A_LINE = re.compile(f"[\x00-\x1f{_INVISIBLE}{_SURROGATES}]")
_NOT_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_INVISIBLE}{_SURROGATES}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escape_line(text: object) -> str:
    """Write a text, or what ``str`` makes of another object, on one line."""
    return _NOT_ON_A_LINE.sub(_escape, str(text))


def escape_lines(text: str) -> str:
    """Write a text whose line ends and tabs are meant."""
    return _NOT_IN_LINES.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in _SHORT:
        return _SHORT[match[0]]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
