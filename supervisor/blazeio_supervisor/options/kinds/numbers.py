"""Numbers: each with its unit and its bounds, and what is said outside of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, ClassVar

from blazeio_supervisor.options.kinds.kind import Kind, Plain
from blazeio_supervisor.options.kinds.size import format_size, parse_size

DAY_S = 86_400.0
NONE: Mapping[str, Any] = {"none": None}
"""The word for what may be lifted."""


@dataclass(frozen=True)
class Number(Kind[Any]):
    """A number within bounds, or a word.

    Attributes:
        least: Inclusive, as is ``most``.
        words: Instead of a number, with what they mean.
        told: What is expected, where the bounds say too little.
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
        """Give it as briefly as it can be, or its word."""
        if isinstance(value, int | float):
            return int(value) if value == int(value) else value
        return super().write(value)

    def _parse(self, text: str) -> float:
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
    """A span; its field ends in ``_s``, its key does not."""

    most: float = DAY_S

    metavar = "S"
    unit = "seconds"

    def strip_unit(self, field: str) -> str:
        """``drain_idle_s`` is ``drain_idle``."""
        return field.removesuffix("_s")


class Size(Number):
    """Octets, with a letter or without."""

    metavar = "SIZE"
    natives = (int, str)
    unit = "a size such as 64K or 16M"

    def write(self, value: Any) -> Plain | None:
        """Give it with a letter, or its word."""
        return format_size(value) if isinstance(value, int) else super().write(value)

    def _parse(self, text: str) -> float:
        return parse_size(text)


class Mode(Kind[int | None]):
    """Permissions, in octal digits."""

    metavar = "MODE"
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
        """Give three digits."""
        return None if value is None else f"{value:03o}"
