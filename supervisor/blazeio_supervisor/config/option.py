"""What an option is, and how one is added.

Every setting is declared once, as a field of a section (``processes``, ``http`` ...)::

    @dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
    class Times(Section):
        title = "Time"

        drain_idle_s: float = option(
            Seconds(least=0),
            "A worker that ends keeps an idle connection for this long, ...",
            default=2.0,
        )

From it come ``--drain-idle``, ``BLAZEIO_DRAIN_IDLE``, ``drain_idle = 2`` in a
TOML file, the lines of ``--help``, docs/reference/settings.md and ``--print-config``,
and the typed ``settings.drain_idle_s`` that the rest of the program reads. **To add
an option: add the field, use it, run ``make docs``.** What a running master
cannot take over at a reload says ``change=Change.RESTART``. What only shows in
several fields together, or on this machine, is looked at by the section's
``check``.

The declaration is a dataclass and not a msgspec Struct: a field may carry what
the generators need, and since three notations (words, variables, TOML) are read
by one reader for each kind, msgspec's conversion would have nothing to do. A
section is only ever a part of ``Settings``, which has the methods that compare and
show it: made for each section too they would cost every start 12 ms.
"""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar

from blazeio_supervisor.config.environment import StartEnvironment
from blazeio_supervisor.config.types import Flag, Kind

PREFIX = "BLAZEIO_"
_METADATA = "option"


class Change(StrEnum):
    """When a new value of a setting comes into force in a running service."""

    RELOAD = "reload"
    RESTART = "restart"


class SettingError(ValueError):
    """A setting cannot have this value; whoever reports it names the option first.

    Args:
        field: The name of the setting in ``Settings``.
        reason: What was expected, or why the value cannot be.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting.

    Attributes:
        kind: How its value is written and read.
        help: What it does and what happens then, for somebody who is in a hurry.
        default: The value when none is given; MISSING: see ``initial``.
        initial: The text that is read at each start when no value is given; "": a
            value must be given.
        default_text: The default in words, where the value says too little.
        change: When a new value comes into force.
        of: The field of the library's settings that it sets; "": none.
        is_secret: Whether its values are shown only to somebody who asks for them.
        field: The name of the setting in ``Settings``.
        key: Its name in a TOML file.
        section: The title that it is listed under.
    """

    kind: Kind[Any]
    help: str
    default: Any = MISSING
    initial: str = ""
    default_text: str = ""
    change: Change = Change.RELOAD
    of: str = ""
    is_secret: bool = False
    field: str = ""
    key: str = ""
    section: str = ""

    @property
    def has_default(self) -> bool:
        """Whether it may be left out, for a value that is known before the start."""
        return self.default is not MISSING

    @property
    def is_argument(self) -> bool:
        """Whether it is typed without a name: APP alone, which has no default."""
        return not (self.has_default or self.initial)

    @property
    def is_denial(self) -> bool:
        """Whether its name begins with "no": such a switch has no opposite."""
        return self.key.startswith("no_")

    @property
    def flag(self) -> str:
        """Its name on the command line; of the argument: what stands for it."""
        if self.is_argument:
            return self.kind.metavar
        return f"--{self.key.replace('_', '-')}"

    @property
    def listed_flag(self) -> str:
        """The spelling that changes the default, ``--no-this`` of one that is on."""
        is_on = isinstance(self.kind, Flag) and self.default is not False
        return f"--no-{self.flag[2:]}" if is_on else self.flag

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"{PREFIX}{self.key.upper()}"

    @property
    def spellings(self) -> list[str]:
        """How it is declared to click: ``--this/--no-this`` where it is a switch."""
        if isinstance(self.kind, Flag) and not self.is_denial:
            return [f"{self.flag}/--no-{self.flag[2:]}", self.field]
        return [self.flag, self.field]

    @property
    def shown_default(self) -> str:
        """The default as the help and the documents say it; "" where they say none."""
        if self.is_argument:
            return ""
        if self.default_text or self.initial:
            return self.default_text or self.initial
        if isinstance(self.kind, Flag):
            return ""  # --no-this says it
        return self.kind.write_text(self.default)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Section(StartEnvironment):
    """Options that are listed together: a class with a field for each.

    Attributes:
        title: Stands above them in ``--help``.
    """

    title: ClassVar[str]

    def check(self) -> None:
        """Check what only shows in several fields together, or on this machine.

        Raises:
            SettingError: A setting cannot have its value.
        """


def option(
    kind: Kind[Any],
    help: str,  # noqa: A002 - as click and argparse call it
    *,
    default: Any = MISSING,
    initial: str = "",
    default_text: str = "",
    change: Change = Change.RELOAD,
    of: str = "",
    is_secret: bool = False,
    key: str = "",
) -> Any:
    """Declare a field of a section as an option; see ``Option``.

    Args:
        key: The key, where it is not the name of the field without its unit.
    """
    declared = Option(
        kind=kind,
        help=help,
        default=default,
        initial=initial,
        default_text=default_text,
        change=change,
        of=of,
        is_secret=is_secret,
        key=key,
    )
    metadata = {_METADATA: declared}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def list_options(section: type[Section]) -> Iterator[Option]:
    """Iterate over the options that a section declares, in their order."""
    for each in fields(section):
        declared: Option | None = each.metadata.get(_METADATA)
        if declared is not None:
            yield replace(
                declared,
                field=each.name,
                key=declared.key or declared.kind.strip_unit(each.name),
                section=section.title,
            )
