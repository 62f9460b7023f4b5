"""Texts: free, one of a few words, or what a parser of another room reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from blazeio_supervisor.options.kinds.kind import Kind, Plain

T = TypeVar("T")


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
        """Give it."""
        return text


@dataclass(frozen=True)
class Choice(Kind[Any]):
    """One of a few words; typed and written in small letters, or as one likes.

    Attributes:
        choices: All of them, as they are kept.
        metavar: Stands for it in ``--help``.
    """

    choices: tuple[str, ...]
    metavar: str

    @property
    def expected(self) -> str:  # type: ignore[override]
        """All of them."""
        *most, last = map(str.lower, self.choices)
        return f"{', '.join(most)} or {last}"

    def read(self, text: str) -> str:
        """Give the word that is meant."""
        for choice in self.choices:
            if choice.lower() == text.lower():
                return choice
        raise ValueError(f"expected {self.expected}")

    def write(self, value: str | None) -> str | None:
        """Give the word."""
        return None if value is None else value.lower()


@dataclass(frozen=True)
class Parsed(Kind[Any]):
    """What a parser reads: an address, a path of a request.

    Attributes:
        parse: Raises ``ValueError`` with what is wrong, and what to write.
        metavar: Stands for it in ``--help``.
        format: Writes it as it is typed.
    """

    parse: Callable[[str], Any]
    metavar: str
    format: Callable[[Any], str] = str

    @property
    def expected(self) -> str:  # type: ignore[override]
        """Completes "expected ..." where a TOML value is no text."""
        return "a string"

    def read(self, text: str) -> Any:
        """Have it read."""
        return self.parse(text)

    def write(self, value: Any) -> Plain | None:
        """Give what can be read again."""
        return None if value is None else self.format(value)
