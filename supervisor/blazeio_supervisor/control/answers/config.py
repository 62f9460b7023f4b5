"""The settings in force."""

from typing import Any, ClassVar

import msgspec


class SettingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in force.

    Attributes:
        key: Its name in a TOML file.
        value: As a TOML file has it; None: nobody says anything.
        origin: A flag, a variable, a file's path, or ``default``.
        meaning: The default in words, where there is no value.
        is_hidden: The values of variables are left out: ``NAME=...``.
    """

    key: str
    value: Any
    origin: str
    meaning: str = ""
    is_hidden: bool = False


class ConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force.

    Attributes:
        needs_restart: The keys that have another value by now, which a reload
            does not take over.
        text: The same as a TOML file.
        changed: What was changed at run time, and holds until the next start, one
            sentence for each.
    """

    # Which fields hold several lines, for `escape_answer`.
    lines: ClassVar[frozenset[str]] = frozenset({"text"})

    settings: list[SettingAnswer]
    needs_restart: list[str]
    text: str
    changed: list[str] = []
