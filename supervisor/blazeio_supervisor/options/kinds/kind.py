"""How the value of an option is written and read: on each of the three places.

A kind reads one text. What is no text, a value in a TOML file, is first checked
for its type and then read as the text that it is written as; so a value that
is refused in one place is refused in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from msgspec import UNSET

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
        metavar: Stands for it in ``--help``.
        expected: Completes "expected ...".
        natives: The TOML types that it may have.
        words: Texts that stand for a value of their own: ``none``, ``auto``.
    """

    metavar: str = "TEXT"
    expected: str = "text"
    natives: ClassVar[tuple[type, ...]] = (str,)
    words: Mapping[str, Any] = {}

    def read(self, text: str) -> T:
        """Read what was typed.

        Raises:
            ValueError: It cannot be; says what is expected.
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
            ValueError: As by ``read``, or it has another type.
        """
        if type(value) in self.natives or self._is_word(value):
            return self.read(write_native(value))
        raise ValueError(f"expected {self.expected}, got {name_type(value)}")

    def write(self, value: T) -> Plain | None:
        """Give it as a TOML file would have it; None: it says nothing."""
        for word, meaning in self.words.items():
            if meaning is value:
                return word
        return None if value is None or value is UNSET else str(value)

    def write_text(self, value: T) -> str:
        """Give it as it is typed; "" where it says nothing."""
        written = self.write(value)
        return "" if written is None else write_native(written)

    def strip_unit(self, field: str) -> str:
        """Give the key for a field's name: the reader of a kind knows its unit."""
        return field

    def _is_word(self, value: object) -> bool:
        return isinstance(value, str) and value in self.words


class Flag(Kind[bool]):
    """A switch: ``--this`` or ``--no-this``."""

    metavar = ""
    expected = "true or false"
    natives = (bool,)

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
        """Give it as it is."""
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
        """Stands for one of them."""
        return self.each.metavar

    @property
    def expected(self) -> str:  # type: ignore[override]
        """Completes "expected ..."."""
        return f"a list of {self.each.metavar}"

    def read(self, text: str) -> tuple[T, ...]:
        """Read one."""
        return (self.each.read(text),)

    def read_variable(self, text: str) -> tuple[T, ...]:
        """Read all that a variable holds."""
        parts = (part.strip() for part in text.split(self.separator))
        return tuple(self.each.read(part) for part in parts if part)

    def read_native(self, value: object) -> tuple[T, ...]:
        """Read a list; one that is alone needs no brackets."""
        values = value if isinstance(value, list) else [value]
        return tuple(self.each.read_native(part) for part in values)

    def write(self, value: tuple[T, ...]) -> list[str]:
        """Give a list of texts."""
        return [self.each.write_text(part) for part in value]

    def write_text(self, value: tuple[T, ...]) -> str:
        """Give them in a row."""
        return " ".join(self.write(value))


class Pairs(Many[tuple[str, str]]):
    """``NAME=VALUE``, several; in a TOML file a table, or a list of such texts."""

    natives = (dict, list, str)

    def read_native(self, value: object) -> tuple[tuple[str, str], ...]:
        """Read a table, whose values are texts, or what a list may be."""
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
    return f"{value:.15g}" if isinstance(value, float) else str(value)
