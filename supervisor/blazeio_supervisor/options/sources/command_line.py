"""What was typed: the options as click knows them, and what it found."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import click

from blazeio_supervisor.options.kinds.kind import Flag, Many
from blazeio_supervisor.options.option import Option
from blazeio_supervisor.options.sources.given import Given, read_given

OptionT = TypeVar("OptionT", bound=click.Option)


class Switch(click.Option):
    """One that has two spellings, of which help lists the one that changes anything.

    Attributes:
        listed: That one.
    """

    listed = ""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Give spelling and text."""
        record = super().get_help_record(ctx)
        return record and (self.listed, record[1])


def make_click_option(option: Option) -> click.Option:
    """Declare an option to click, which only splits words: reading is ours."""
    if not isinstance(option.kind, Flag):
        return _make(click.Option, option)
    switch = _make(Switch, option)
    switch.listed = option.listed_flag
    return switch


def _make(kind: type[OptionT], option: Option) -> OptionT:
    return kind(
        option.spellings,
        default=None,
        type=bool if isinstance(option.kind, Flag) else str,
        is_flag=isinstance(option.kind, Flag) or None,
        multiple=isinstance(option.kind, Many),
        metavar=option.kind.metavar or None,
        help=_explain(option),
    )


def _explain(option: Option) -> str:
    default = option.shown_default
    return f"{option.help}  [default: {default}]" if default else option.help


def read_command_line(
    options: Iterable[Option], words: Mapping[str, Any]
) -> dict[str, Given]:
    """Read what click found, by field; what was not typed is None or empty.

    Raises:
        UsageError: A value cannot be.
    """
    given = {}
    for option in options:
        typed = words.get(option.field)
        if typed is None or typed == ():
            continue
        given[option.field] = _read(option, typed)
    return given


def _read(option: Option, typed: Any) -> Given:
    if isinstance(option.kind, Flag):
        flag = option.flag if typed else f"--no-{option.flag[2:]}"
        return Given(typed, typed, flag, flag)
    if isinstance(option.kind, Many):
        parts = [_read_one(option, text) for text in typed]
        value = tuple(value for part in parts for value in part.value)
        label = " ".join(part.label for part in parts)
        return Given(value, list(typed), option.flag, label)
    return _read_one(option, typed)


def _read_one(option: Option, text: str) -> Given:
    label = "" if option.is_argument else f"{option.flag} {text or repr(text)}"
    return read_given(option.kind.read, text, option.flag, label)
