"""What was given for each option, by whom, and how that is named to a person."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.kinds.kind import Plain
from blazeio_supervisor.options.option import Option

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Given:
    """The value of one option.

    Attributes:
        value: As ``Settings`` has it.
        written: As it was given; None: nobody did.
        origin: A flag, a variable, a file's path, or ``default``.
        label: How a message names both: ``--workers 0``, ``BLAZEIO_WORKERS=0``; "":
            the message does it by itself.
    """

    value: Any
    written: Plain | None
    origin: str
    label: str

    @property
    def is_default(self) -> bool:
        """Nobody said anything."""
        return self.origin == DEFAULT


Source = Mapping[str, Given]
"""What one place gave, by the field of ``Settings``."""


def read_given(
    read: Callable[[Any], Any], written: Any, origin: str, label: str
) -> Given:
    """Read one value.

    Raises:
        UsageError: It cannot be; the line names where it was given.
    """
    try:
        return Given(read(written), written, origin, label)
    except ValueError as error:
        where = f"{label}: " if label else ""
        raise UsageError(f"{where}{error}") from None


def read_default(option: Option) -> Given | None:
    """Give the value when nobody says any; None: somebody must."""
    if option.initial:
        value = option.kind.read(option.initial)
        return Given(value, option.initial, DEFAULT, option.flag)
    if option.has_default:
        written = option.kind.write(option.default)
        return Given(option.default, written, DEFAULT, option.flag)
    return None


def choose(options: Iterable[Option], sources: Iterable[Source]) -> dict[str, Given]:
    """Take each option from the first source that has it, else its default."""
    chosen: dict[str, Given] = {}
    ranked = [*sources]
    for option in options:
        said = (source[option.field] for source in ranked if option.field in source)
        found = next(said, None) or read_default(option)
        if found is not None:
            chosen[option.field] = found
    return chosen
