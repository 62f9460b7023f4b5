"""``config --sample``: a ``blazeio.toml`` with every setting as a comment. Pure."""

import re
import textwrap
from collections.abc import Iterator

from blazeio_supervisor.config.option import Option
from blazeio_supervisor.config.settings import SECTIONS
from blazeio_supervisor.config.sources import OPTIONS, write_toml
from blazeio_supervisor.config.types import Choice, Flag, Many, Number

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
    return "\n".join(_iterate_lines()) + "\n"


def _iterate_lines() -> Iterator[str]:
    yield _HEAD.rstrip("\n")
    for section in SECTIONS:
        yield from ["", "", f"# {section.title.partition(' (')[0]}"]
        for option in OPTIONS:
            if option.section == section.title:
                yield from _describe(option)


def _describe(option: Option) -> Iterator[str]:
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
