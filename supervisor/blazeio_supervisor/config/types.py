"""How the value of an option is written and read in each of the three places.

A kind reads one text. A value of a TOML file that is no text is first checked for its
type, and then read as the text that one would type for it; so what is refused in one
place is refused in all. The file of ``--env-file`` is read here, too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, ClassVar, Generic, TypeVar

from msgspec import UNSET

from blazeio_supervisor.files import read

T = TypeVar("T")

Plain = str | int | float | bool | Sequence[str]
"""What a TOML file and JSON can hold."""

_NAMES: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a table",
}


class Kind(Generic[T]):
    """How one value is written and read.

    Attributes:
        metavar: Stands for a value in ``--help``.
        expected: Completes "expected ...".
        natives: The types that a value may have in a TOML file.
        words: Texts that stand for a value of their own: ``none``, ``auto``.
    """

    metavar: str = "TEXT"
    expected: str = "text"
    natives: ClassVar[tuple[type, ...]] = (str,)
    words: Mapping[str, Any] = {}

    def read(self, text: str) -> T:
        """Read what was typed.

        Raises:
            ValueError: It is no such value; the message says what is expected.
        """
        raise NotImplementedError

    def read_variable(self, text: str) -> T:
        """Read an environment variable.

        Raises:
            ValueError: As by ``read``.
        """
        return self.read(text)

    def read_native(self, value: object) -> T:
        """Read a value of a TOML file.

        Raises:
            ValueError: As by ``read``, or the value has another type.
        """
        # The very type: to Python True is an int, and ``workers = true`` would be one
        # worker.
        if type(value) in self.natives or self._is_word(value):
            return self.read(write_native(value))
        raise ValueError(f"expected {self.expected}, got {name_type(value)}")

    def write(self, value: T) -> Plain | None:
        """Return the value as a TOML file has it; None where nothing is written."""
        for word, meaning in self.words.items():
            if meaning is value:
                return word
        return None if value is None or value is UNSET else str(value)

    def write_text(self, value: T) -> str:
        """Return the value as it is typed; "" where nothing is written."""
        written = self.write(value)
        return "" if written is None else write_native(written)

    def strip_unit(self, field: str) -> str:
        """Return the key of a field: its name without the unit of this kind."""
        return field

    def _is_word(self, value: object) -> bool:
        return isinstance(value, str) and value in self.words


class Flag(Kind[bool]):
    """A switch: ``--this`` or ``--no-this``."""

    metavar = ""
    expected = "true or false"
    natives = (bool,)

    # systemd takes these words, too (systemd.syntax(7)): one value serves a unit and
    # us.
    _YES = ("1", "true", "yes", "on")
    _NO = ("0", "false", "no", "off")

    def read(self, text: str) -> bool:
        """Read one of a few words, in any case."""
        if text.lower() in self._YES:
            return True
        if text.lower() in self._NO:
            return False
        raise ValueError(f"expected {self.expected}")

    def write(self, value: bool) -> bool:
        """Return the switch itself."""
        return value


@dataclass(frozen=True)
class Many(Kind[tuple[T, ...]]):
    """Several values: the option is given several times.

    Attributes:
        each: How one of them is written.
        separator: Between them in a variable; None: blanks and line ends.
    """

    each: Kind[T]
    separator: str | None = None

    natives: ClassVar[tuple[type, ...]] = (list, str)

    @property
    def metavar(self) -> str:  # type: ignore[override]
        """Stands for one of the values in ``--help``."""
        return self.each.metavar

    @property
    def expected(self) -> str:  # type: ignore[override]
        """Completes "expected ..."."""
        return f"a list of {self.each.metavar}"

    def read(self, text: str) -> tuple[T, ...]:
        """Read one value: the option is typed once for each."""
        return (self.each.read(text),)

    def read_variable(self, text: str) -> tuple[T, ...]:
        """Read all values that a variable holds."""
        # A name has one value in an environment (environ(7)), so all of them stand in
        # it.
        parts = (part.strip() for part in text.split(self.separator))
        return tuple(self.each.read(part) for part in parts if part)

    def read_native(self, value: object) -> tuple[T, ...]:
        """Read a list; a single value needs no brackets."""
        values = value if isinstance(value, list) else [value]
        return tuple(self.each.read_native(part) for part in values)

    def write(self, value: tuple[T, ...]) -> list[str]:
        """Return the text of each value."""
        return [self.each.write_text(part) for part in value]

    def write_text(self, value: tuple[T, ...]) -> str:
        """Return the texts, separated by blanks."""
        return " ".join(self.write(value))


class Pairs(Many[tuple[str, str]]):
    """Several ``NAME=VALUE``; in a TOML file a table, or a list of such texts."""

    natives = (dict, list, str)

    def read_native(self, value: object) -> tuple[tuple[str, str], ...]:
        """Read a table whose values are texts, or a list as of ``Many``."""
        if isinstance(value, dict):
            value = [f"{name}={self._read_text(text)}" for name, text in value.items()]
        return super().read_native(value)

    def _read_text(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected a string for each name, got {name_type(value)}")
        return value


def name_type(value: object) -> str:
    """Name the type of a TOML value, as a person would."""
    return _NAMES.get(type(value), "a date or time")


def write_native(value: object) -> str:
    """Write a TOML value as it would be typed as an argument."""
    if isinstance(value, bool):
        return str(value).lower()
    # 15 digits, which a float keeps of any number (sys.float_info.dig): 0.1 stays 0.1,
    # and 2.0 is 2, as a person would type it.
    return f"{value:.15g}" if isinstance(value, float) else str(value)


# A blank would end the target in the request line (RFC 9112, section 3), a line end the
# whole line; and RFC 3986 has nothing in a path that is not ASCII.
_PATH = re.compile(r"/[!-~]*")


def read_path(text: str) -> str:
    """Read the path of a request, with its query.

    Raises:
        ValueError: The text is none.
    """
    # What is behind a # is never sent to a server (RFC 9110, section 4.2.5).
    if _PATH.fullmatch(text) is None or "#" in text:
        raise ValueError("expected a path such as /health, percent-encoded")
    return text


# Sizes in octets, as they are typed: ``512M``, ``64K``, ``1048576``.


# Of 1024, as systemd (MemoryMax=, systemd.resource-control(5)) and nginx have them.
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
# ASCII: to Python the digits of every script are digits, and ``int`` reads them.
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Read ``512M``, ``2G``, ``1048576``: octets, units of 1024.

    Raises:
        ValueError: It is no size; the message says what one looks like.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text}: expected a size such as 512M or 2G")
    return int(match[1]) * _UNITS[match[2].upper()]


def format_size(octets: int) -> str:
    """Write a size with the largest unit that divides it."""
    fitting = [unit for unit in _UNITS if octets and octets % _UNITS[unit] == 0]
    unit = fitting[-1] if fitting else ""
    return f"{octets // _UNITS[unit]}{unit}"


# Numbers, each with its unit and its bounds.


DAY_S = 86_400.0
NONE: Mapping[str, Any] = {"none": None}
"""The word that lifts a bound."""


@dataclass(frozen=True)
class Number(Kind[Any]):
    """A number within bounds, or a word.

    Attributes:
        least: The smallest value; ``most`` is the largest one.
        words: Words in the place of a number, each with its meaning.
        told: Completes "expected ..." where the bounds say too little.
    """

    least: float = 0
    most: float = inf
    words: Mapping[str, Any] = field(default_factory=dict)
    told: str = ""

    metavar = "N"
    natives: ClassVar[tuple[type, ...]] = (int, float)
    unit = "a number"

    @property
    def expected(self) -> str:  # type: ignore[override]
        """Completes "expected ..."."""
        if self.told:
            return self.told
        words = "".join(f", or {word}" for word in self.words)
        if self.most == inf:
            return f"{self.unit}, {self.write(self.least)} or more{words}"
        return (
            f"{self.unit}, {self.write(self.least)} to {self.write(self.most)}{words}"
        )

    def read(self, text: str) -> Any:
        """Read a word or a number."""
        if text in self.words:
            return self.words[text]
        try:
            value = self._parse(text)
        except ValueError:
            value = -inf
        if not self.least <= value <= self.most:
            raise ValueError(f"expected {self.expected}")
        return value

    def write(self, value: Any) -> Plain | None:
        """Return the number, as a whole one where it is, or its word."""
        if isinstance(value, int | float):
            return int(value) if value == int(value) else value
        return super().write(value)

    def _parse(self, text: str) -> float:
        # ``float`` reads "nan" as well, which is neither below a bound nor above it.
        value = float(text)
        return value if isfinite(value) else -inf


class Count(Number):
    """A whole number."""

    natives = (int,)
    unit = "a whole number"

    def _parse(self, text: str) -> float:
        return int(text)


@dataclass(frozen=True)
class Seconds(Number):
    """A span of time; the name of its field ends in ``_s``, its key does not."""

    most: float = DAY_S

    metavar = "S"
    unit = "seconds"

    def strip_unit(self, field: str) -> str:
        """Return ``drain_idle`` for ``drain_idle_s``."""
        return field.removesuffix("_s")


class Size(Number):
    """A size in octets, with the letter of a unit or without."""

    metavar = "SIZE"
    natives = (int, str)
    unit = "a size such as 64K or 16M"

    def write(self, value: Any) -> Plain | None:
        """Return the size with the letter of its unit, or its word."""
        return format_size(value) if isinstance(value, int) else super().write(value)

    def _parse(self, text: str) -> float:
        return parse_size(text)


class Mode(Kind[int | None]):
    """Permissions of a file, in octal digits."""

    metavar = "MODE"
    # TOML has no number 0660 (octal is 0o660 there), and its 660 is one of base ten,
    # which would be another mode: so it is a string.
    expected = 'octal digits, 000 to 777 (in a TOML file as a string, "027")'

    def read(self, text: str) -> int:
        """Read octal digits."""
        try:
            mode = int(text, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            raise ValueError("expected octal digits, 000 to 777")
        return mode

    def write(self, value: int | None) -> str | None:
        """Return three octal digits."""
        return None if value is None else f"{value:03o}"


# Texts: free ones, one of a few words, or what a parser of another room reads.


@dataclass(frozen=True)
class Text(Kind[Any]):
    """Any text, kept as it is.

    Attributes:
        metavar: Stands for it in ``--help``.
    """

    metavar: str = "TEXT"

    @property
    def expected(self) -> str:  # type: ignore[override]
        """Completes "expected ..."."""
        return "a string"

    def read(self, text: str) -> str:
        """Return the text."""
        return text


@dataclass(frozen=True)
class Choice(Kind[Any]):
    """One of a few words, typed in small letters or in capitals.

    Attributes:
        choices: All words, as they are kept.
        metavar: Stands for one in ``--help``.
    """

    choices: tuple[str, ...]
    metavar: str

    @property
    def expected(self) -> str:  # type: ignore[override]
        """Completes "expected ..." by all words."""
        *most, last = map(str.lower, self.choices)
        return f"{', '.join(most)} or {last}"

    def read(self, text: str) -> str:
        """Return the word that is meant."""
        # Python's ``logging`` has levels in capitals, uvicorn and nginx have small
        # ones.
        for choice in self.choices:
            if choice.lower() == text.lower():
                return choice
        raise ValueError(f"expected {self.expected}")

    def write(self, value: str | None) -> str | None:
        """Return the word in small letters."""
        return None if value is None else value.lower()


@dataclass(frozen=True)
class Parsed(Kind[Any]):
    """What a parser reads: an address, the path of a request.

    Attributes:
        parse: Reads a text, or raises ``ValueError`` with what is wrong with it.
        metavar: Stands for a value in ``--help``.
        format: Writes a value as it is typed.
    """

    parse: Callable[[str], Any]
    metavar: str
    format: Callable[[Any], str] = str

    @property
    def expected(self) -> str:  # type: ignore[override]
        """Completes "expected ..." where the value of a TOML file is not text."""
        return "a string"

    def read(self, text: str) -> Any:
        """Read the text by the parser."""
        return self.parse(text)

    def write(self, value: Any) -> Plain | None:
        """Return a text that can be read again."""
        return None if value is None else self.format(value)


# A file of variables, as ``--env-file`` has it, read as python-dotenv reads it.
#
# uvicorn, Flask, Docker Compose and pydantic-settings read such files as well, and
# most of them in this way: a file that works there must not mean something else here.
# Not taken over is the expansion of ``${NAME}``: a password may hold a dollar.


_VARIABLE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
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
    if not equals or _VARIABLE_NAME.fullmatch(name) is None or "\0" in value:
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
