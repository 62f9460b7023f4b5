"""The settings as a TOML file: those in force, and a sample of all. Pure.

``--print-config`` and the verb ``config`` write what is in force, each with where it
came from; ``config --sample`` a ``blazeio.toml`` with every setting as a comment.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from blazeio_supervisor.config.option import DEFAULT, Given, Option
from blazeio_supervisor.config.settings import OPTIONS, SECTIONS, Configuration
from blazeio_supervisor.config.types import Choice, Flag, Many, Number, Plain
from blazeio_supervisor.ipc.control_api import SettingAnswer
from blazeio_supervisor.log.formats import encode_json, escape_line

_COLUMN = 40
_SHOWN_BY = "--show-env shows the values"


def list_settings(
    configuration: Configuration, *, shows_env: bool = True
) -> list[SettingAnswer]:
    """Return every setting, in the order of ``--help``.

    Args:
        configuration: The settings, with their origins.
        shows_env: Whether the values of variables are shown, or only their names.
    """
    settings = [_describe(o, configuration.given.get(o.field)) for o in OPTIONS]
    if shows_env:
        return settings
    secret = {option.key for option in OPTIONS if option.is_secret}
    return [_hide(each) if each.key in secret else each for each in settings]


def _hide(setting: SettingAnswer) -> SettingAnswer:
    """Replace the values of ``NAME=VALUE`` texts by dots."""
    if not setting.value:
        return setting
    names = [f"{text.partition('=')[0]}=..." for text in setting.value]
    return replace(setting, value=names, is_hidden=True)


def _describe(option: Option, given: Given | None) -> SettingAnswer:
    if given is None:
        return SettingAnswer(
            key=option.key, value=None, origin=DEFAULT, meaning="required"
        )
    if given.is_default and option.default_text:
        meaning = option.default_text
        return SettingAnswer(
            key=option.key, value=None, origin=DEFAULT, meaning=meaning
        )
    # ``auto`` is shown as it was typed, and not the number that it stands for on this
    # machine.
    is_word = given.written in list(option.kind.words)
    value = given.written if is_word else option.kind.write(given.value)
    return SettingAnswer(key=option.key, value=value, origin=given.origin)


def format_settings(settings: Iterable[SettingAnswer]) -> str:
    """Write a TOML file that sets the same, with each origin as a comment."""
    titles = {option.key: option.section for option in OPTIONS}
    return "\n".join(_iterate_lines(settings, titles)) + "\n"


def _iterate_lines(
    settings: Iterable[SettingAnswer], titles: dict[str, str]
) -> Iterator[str]:
    last = ""
    for setting in settings:
        title = titles[setting.key].partition(" (")[0]
        if title != last:
            yield from [""] * bool(last)
            yield f"# {title}"
            last = title
        yield _format_line(setting)


def _format_line(setting: SettingAnswer) -> str:
    if setting.value is None:
        meaning = escape_line(setting.meaning)
        return f"{f'# {setting.key} =':{_COLUMN}}  # default: {meaning}"
    line = f"{setting.key} = {write_toml(setting.value)}"
    origin = escape_line(setting.origin)
    if setting.is_hidden:  # a comment: as a setting it would set the dots
        return f"{f'# {line}':{_COLUMN}}  # {origin}; {_SHOWN_BY}"
    return f"{line:{_COLUMN}}  # {origin}"


def write_toml(value: Plain) -> str:
    """Write a value as TOML has it: strings and lists are those of JSON."""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    octets = msgspec.json.format(encode_json(value), indent=0)
    return octets.decode()


# ``config --sample``.


_WIDTH = 78
_SIZE = re.compile(r"\d+[KMG]?")
_HEAD = """\
# blazeio.toml: `blazeio-supervisor` without an argument reads it.
# Every setting is here, with its default. Take the `#` away before `name =` to set it.
# The command line and BLAZEIO_... in the environment win over this file.
"""
_EXAMPLES = {
    "app": '"app:web"',
    "bind": '["127.0.0.1:8000", "unix:/run/app.sock"]',
    "env": '{ NAME = "value" }',
}
"""What stands for settings whose defaults show nothing of how they are written."""


def write_sample() -> str:
    """Write the file; it is read as one that sets nothing but APP."""
    return "\n".join(_iterate_sample()) + "\n"


def _iterate_sample() -> Iterator[str]:
    yield _HEAD.rstrip("\n")
    for section in SECTIONS:
        yield from ["", "", f"# {section.title.partition(' (')[0]}"]
        for option in OPTIONS:
            if option.section == section.title:
                yield from _describe_option(option)


def _describe_option(option: Option) -> Iterator[str]:
    default = f"  Default: {option.shown_default}." if option.shown_default else ""
    yield ""
    for line in textwrap.wrap(f"{option.help}{default}", _WIDTH - 2):
        yield f"# {line}"
    mark = "" if option.is_argument else "# "
    yield f"{mark}{option.key} = {_write_value(option)}"


def _write_value(option: Option) -> str:
    """Write the default, or what stands for a value where that is not one value."""
    if option.key in _EXAMPLES:
        return _EXAMPLES[option.key]
    if isinstance(option.kind, Flag):
        return "true or false" if option.default is None else write_toml(option.default)
    shown = option.shown_default
    is_choice = isinstance(option.kind, Choice) and option.default is not None
    if is_choice or shown in (option.initial, *option.kind.words):
        return write_toml(shown)
    if isinstance(option.kind, Number) and _SIZE.fullmatch(shown):
        return shown if shown.isdecimal() else write_toml(shown)
    name = option.kind.metavar.strip("'")
    return f"[{write_toml(name)}]" if isinstance(option.kind, Many) else name
