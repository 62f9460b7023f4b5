"""``--print-config``: every setting in force as TOML, and where it came from."""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from blazeio_supervisor.control.answers.config import SettingAnswer
from blazeio_supervisor.escaping import encode_json, escape_line
from blazeio_supervisor.options.kinds.kind import Plain
from blazeio_supervisor.options.option import Option
from blazeio_supervisor.options.sources.configuration import OPTIONS, Configuration
from blazeio_supervisor.options.sources.given import DEFAULT, Given

_COLUMN = 40
_SHOWN_BY = "--show-env shows the values"


def list_settings(
    configuration: Configuration, *, shows_env: bool = True
) -> list[SettingAnswer]:
    """Return every setting, in the order of ``--help``.

    Args:
        configuration: Where they are from.
        shows_env: With the values of variables; else with their names alone.
    """
    settings = [_describe(o, configuration.given.get(o.field)) for o in OPTIONS]
    if shows_env:
        return settings
    secret = {option.key for option in OPTIONS if option.is_secret}
    return [_hide(each) if each.key in secret else each for each in settings]


def _hide(setting: SettingAnswer) -> SettingAnswer:
    """Leave the names of ``NAME=VALUE`` texts, and none of the values."""
    if not setting.value:
        return setting
    names = [f"{text.partition('=')[0]}=..." for text in setting.value]
    return replace(setting, value=names, is_hidden=True)


def _describe(option: Option, given: Given | None) -> SettingAnswer:
    if given is None:
        return SettingAnswer(
            key=option.key, value=None, origin=DEFAULT, meaning="it must be said"
        )
    if given.is_default and option.default_text:
        meaning = option.default_text
        return SettingAnswer(
            key=option.key, value=None, origin=DEFAULT, meaning=meaning
        )
    is_word = given.written in list(option.kind.words)  # auto, and not what it means
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
    if setting.is_hidden:  # it would set dots
        return f"{f'# {line}':{_COLUMN}}  # {origin}; {_SHOWN_BY}"
    return f"{line:{_COLUMN}}  # {origin}"


def write_toml(value: Plain) -> str:
    """Write a value as TOML has it: strings and lists are those of JSON."""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    octets = msgspec.json.format(encode_json(value), indent=0)
    return octets.decode()
