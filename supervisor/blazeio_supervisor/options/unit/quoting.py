r"""Values as a unit file has them: one function for each kind of setting.

The rules are systemd's (``systemd.syntax``, ``systemd.service``, and where these
are silent its ``src/core/load-fragment.c``):

=====================  ======  =================  ==============================
settings               ``%``   ``$`` expanded     quotes and ``\`` escapes
=====================  ======  =================  ==============================
``ExecStart=``         yes     but in the path    yes; a path that needs them,
                               of the program     none
``Environment=``       yes     no                 yes
``ReadWritePaths=``    yes     no                 quotes only
``WorkingDirectory=``  yes     no                 no: the rest of the line
``ListenStream=``      yes     no                 no: the rest of the line
=====================  ======  =================  ==============================

LF and CR end a line, wherever they stand; the last ``\`` of a line joins it with
the next; a file that is not UTF-8 is skipped. What a setting cannot hold is
refused, never left out.
"""

import re
from collections.abc import Iterable

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.escaping import escape_line

_PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_A_VARIABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NOT_IN_A_PROGRAM = re.compile(r"[\x00-\x1f\x7f\\\"']")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}
_ESCAPED = re.compile(r'[\x01-\x1f\x7f\\"]|[^\x00-\x7f]')


def quote_command(program: str, words: Iterable[str]) -> str:
    """Write a command line, for ``ExecStart=``.

    Raises:
        UsageError: systemd starts no program of such a path, or a word is none.
    """
    _check(program, _NOT_IN_A_PROGRAM, "quotes, backslashes and control characters")
    return " ".join([quote(_check_path(program)), *map(_quote_argument, words)])


def quote_words(words: Iterable[str]) -> str:
    """Write arguments of a command line."""
    return " ".join(map(_quote_argument, words))


def _quote_argument(word: str) -> str:
    return quote(word.replace("$", "$$"))


def quote_variable(name: str, value: str) -> str:
    """Write one variable, for ``Environment=``, where ``$`` is plain.

    Raises:
        UsageError: systemd sets none of such a value.
    """
    _check(f"{name}={value}", _NOT_IN_A_VARIABLE, "control characters in a variable")
    return quote(f"{name}={value}")


def quote_paths(paths: Iterable[str]) -> str:
    """Write several paths, for ``ReadWritePaths=``; each may begin with ``-``.

    Raises:
        UsageError: A path has control characters.
    """
    return " ".join(map(quote, [_check_path(path) for path in paths]))


def write_folder(path: str) -> str:
    """Write the path of a folder as the rest of a line, for ``WorkingDirectory=``.

    Raises:
        UsageError: It has control characters.
    """
    text = _double_percent(_check_path(path))
    # A final slash is dropped by systemd; what stands before it is kept.
    return f"{text}/" if text[-1:] in (" ", "\\") else text


def write_address(text: str) -> str:
    """Write an address or a path as the rest of a line, for ``ListenStream=``.

    Raises:
        UsageError: It has control characters, or ends as no line can.
    """
    if text[-1:] in (" ", "\\"):
        raise UsageError(f"{escape_line(text)!r}: a unit has no path of such an end")
    return _double_percent(_check_path(text))


def quote(word: str) -> str:
    """Write one word, in quotes where it needs them.

    Raises:
        UsageError: It has octets that are no UTF-8, or a NUL.
    """
    _check(word, _SURROGATES, "octets that are no UTF-8")
    _check(word, re.compile("\0"), "NUL")
    text = _double_percent(word)
    if _PLAIN.fullmatch(text):
        return text
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    """Escape what has a meaning for systemd, or shows a reader something else."""
    character, code = match[0], ord(match[0])
    if code < 0x80:
        return _SHORT.get(character) or f"\\x{code:02x}"
    if escape_line(character) == character:
        return character
    # systemd's \x85 is an octet; by \u it writes the character in UTF-8.
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _double_percent(text: str) -> str:
    return text.replace("%", "%%")


def _check_path(path: str) -> str:
    _check(path, _CONTROLS, "line ends or other control characters in a path")
    _check(path, _SURROGATES, "octets that are no UTF-8")
    if escape_line(path) != path:
        what = "characters in a path that cannot be seen, or turn its order round"
        raise UsageError(f"'{escape_line(path)}': a unit takes no {what}")
    return path


def _check(text: str, pattern: re.Pattern[str], what: str) -> None:
    if pattern.search(text):
        raise UsageError(f"'{escape_line(text)}': a unit takes no {what}")
