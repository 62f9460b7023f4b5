"""docs/reference/blazeio-supervisor.1, the page for man(1), made from the code.

The wheel installs it into ``share/man/man1``, where man finds it: it looks beside each
``bin`` of the PATH.
"""

import re
from collections.abc import Iterable, Iterator

import click

from blazeio_supervisor.cli.serve import OPTION_GROUPS, command
from blazeio_supervisor.cli.verbs import list_verbs
from blazeio_supervisor.config.command_line import PROGRAM
from blazeio_supervisor.errors import EXIT_MEANINGS

_SYNOPSIS = (("[OPTIONS]", "APP"), ("VERB", "[OPTIONS]"))
_ENVIRONMENT = (
    ("BLAZEIO_...", "Every option of APP, in capitals and with underscores."),
    ("BLAZEIO_CONFIG", "The TOML file of the settings, as --config."),
    ("BLAZEIO_INSTANCE", "The service that a verb is for, as its --instance."),
    ("WEB_CONCURRENCY", "Stands for BLAZEIO_WORKERS, which wins over it."),
    ("NO_COLOR", "Print no colours, unless it is empty."),
)
_FILES = (
    ("blazeio.toml", "The settings, in the working directory; else [tool.blazeio] of "
     "pyproject.toml."),
    ("$RUNTIME_DIRECTORY/control.sock", "Where verbs reach the service; else a name in "
     "the abstract namespace."),
)  # fmt: skip


def write_manual() -> str:
    """Write the page."""
    return "\n".join(_iterate_lines()) + "\n"


def _iterate_lines() -> Iterator[str]:
    yield '.\\" Made by `make docs`; do not edit.'
    yield f'.TH {PROGRAM.upper()} 1 "" "blazeio" "User Commands"'
    yield from [".SH NAME", f"{escape(PROGRAM)} \\- serve Python web apps, supervised"]
    yield ".SH SYNOPSIS"
    for number, words in enumerate(_SYNOPSIS):
        yield from [".br"] * bool(number)
        yield " ".join([f"\\fB{escape(PROGRAM)}\\fR", *map(escape, words)])
    yield ".SH DESCRIPTION"
    yield from _write_help(command.help or "")
    yield ".SH VERBS"
    for verb in list_verbs().values():
        loaded = verb.load()
        context = click.Context(loaded, info_name=verb.name)
        usage = " ".join(loaded.collect_usage_pieces(context))
        yield from _write_entry(f"{verb.name} {usage}", verb.summary)
    yield ".SH OPTIONS"
    context = click.Context(command)
    for group in OPTION_GROUPS:
        yield f".SS {escape(group.title)}"
        for option in group.options:
            record = option.get_help_record(context)
            if record is not None:
                yield from _write_entry(*record)
    yield from _write_section("ENVIRONMENT", _ENVIRONMENT)
    yield from _write_section("FILES", _FILES)
    codes = ((str(int(code)), why) for code, why in EXIT_MEANINGS.items())
    yield from _write_section("EXIT STATUS", codes)
    yield ".SH SIGNALS"
    yield from _write_help((command.epilog or "").partition("Exit codes:")[0])


def _write_section(title: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in entries:
        yield from _write_entry(name, text)


def _write_entry(name: str, text: str) -> Iterator[str]:
    yield from [".TP", f"\\fB{escape(name)}\\fR", escape(text)]


def _write_help(text: str) -> Iterator[str]:
    r"""Write a help of click: paragraphs, and after \b lines as they are."""
    text = re.sub(r"\n\n?Verbs \(.*?\n\n", "\n\n", text, flags=re.DOTALL)
    for part in re.split(r"\n\n|\n(?=\x08)", text.strip("\n")):
        is_kept = part.startswith("\b")
        yield from [".nf"] if is_kept else [".PP"]
        lines = part.removeprefix("\b\n").splitlines()
        yield from (escape(line) for line in lines if line.strip() != "\b")
        yield from [".fi"] * is_kept


def escape(text: str) -> str:
    """Escape what means something to roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text
