"""A file of variables, as ``--env-file`` has it, read as python-dotenv reads it.

uvicorn, Flask, Docker Compose and pydantic-settings read such files as well, and most
of them in this way: a file that works there must not mean something else here. Not
taken over is the expansion of ``${NAME}``: a password may hold a dollar.
"""

import re

from blazeio_supervisor.files import read

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_BEFORE_VALUE = re.compile(r"(?:export[ \t]++)?([^\s=]*)[ \t]*=")
_IN_DOUBLE = re.compile(r"\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_IN_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_AFTER_QUOTES = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_UNQUOTED = re.compile(r"([^\n]*)(?:\n|\Z)")
# Behind a blank only: a # within a word is part of it, as of a URL or a password.
_COMMENT = re.compile(r"[ \t]#")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


def read_variable(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``.

    Raises:
        ValueError: The text is not of this form.
    """
    name, equals, value = text.partition("=")
    # The text of a variable ends at its first NUL (environ(7)), so Python refuses one;
    # here the operator is told where it is.
    if not equals or NAME.fullmatch(name) is None or "\0" in value:
        raise ValueError("expected NAME=VALUE")
    return name, value


def read_env_file(path: str) -> dict[str, str]:
    """Read a file of variables.

    Raises:
        ValueError: The file cannot be read, another user may write it, or a line is
            not of this form; the message says which.
    """
    try:
        # Editors of Windows begin a file with a byte order mark, which is no letter of
        # a name.
        text = read(path).decode("utf-8-sig")
    except OSError as error:
        raise ValueError(str(error.strerror)) from None
    except UnicodeDecodeError:
        raise ValueError("this is not text in UTF-8") from None
    return parse_variables(text)


def parse_variables(text: str) -> dict[str, str]:
    """Read the text of such a file: the last value of a name counts.

    Raises:
        ValueError: A line is not of this form; the message says which.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    variables: dict[str, str] = {}
    at, line = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        first = text[at : end if end >= 0 else len(text)].strip()
        if not first or first.startswith("#"):
            next_at = end + 1 if end >= 0 else len(text)
        else:
            try:
                name, value, next_at = _read_one(text, at)
            except ValueError as error:
                raise ValueError(f"line {line}: {error}") from None
            variables[name] = value
        line += text.count("\n", at, next_at)
        at = next_at
    return variables


def _read_one(text: str, at: int) -> tuple[str, str, int]:
    """Return a name, its value, and where the next line begins."""
    found = _BEFORE_VALUE.match(text, _skip_spaces(text, at))
    if found is None:
        raise ValueError("expected NAME=VALUE")
    at = found.end()
    quoted_at = _skip_spaces(text, at)
    quote = text[quoted_at : quoted_at + 1]
    if quote in ("'", '"'):
        pattern = _IN_DOUBLE if quote == '"' else _IN_SINGLE
        quoted = pattern.match(text, quoted_at)
        if quoted is None:
            raise ValueError(f"the value begins with {quote}, and no {quote} ends it")
        after = _AFTER_QUOTES.match(text, quoted.end())
        if after is None:
            raise ValueError(f"expected nothing but a comment after the second {quote}")
        value, at = _unescape(quoted[1], quote), after.end()
    else:
        rest = _UNQUOTED.match(text, at)
        assert rest is not None  # it may be empty
        value, at = _COMMENT.split(rest[1], maxsplit=1)[0].strip(), rest.end()
    return *read_variable(f"{found[1]}={value}"), at


def _skip_spaces(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    return at


def _unescape(text: str, quote: str) -> str:
    """Decode what is escaped; in single quotes that are only the two that must be."""

    def decode(found: re.Match[str]) -> str:
        char = found[1]
        if char in ("\\", "'") or (quote == '"' and char == '"'):
            return char
        return _ESCAPES.get(char, found[0]) if quote == '"' else found[0]

    return _ESCAPE.sub(decode, text)
