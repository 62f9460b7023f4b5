"""The documents, and the parts of them, that are made from the code.

``make docs`` writes them. A part stands between two comments that name it; the
rest of such a document is written by hand.
"""

import asyncio
import dataclasses
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from blazeio.app.metric_series import ExposedFamily
from blazeio.limits import Limits
from blazeio_supervisor.cli.verbs import list_verbs
from blazeio_supervisor.config.http import WorkerLimits, format_default
from blazeio_supervisor.config.option import list_options
from blazeio_supervisor.errors import EXIT_MEANINGS
from blazeio_supervisor.log.formats import EVENTS
from blazeio_supervisor.master.metrics import list_families
from tests.architecture.documents.control_schema import write_schema
from tests.architecture.documents.manual import write_manual
from tests.architecture.documents.names import (
    list_of_io,
    list_of_r,
    read_attributes,
)
from tests.architecture.documents.settings import write_settings
from tests.supervisor.cli.master_harness import MasterHarness
from tests.support.tree import REPOSITORY

UNITS = {
    "_bytes_per_s": "octets a second",
    "_resets_per_s": "streams a second",
    "_frames_per_s": "frames a second",
    "_bytes": "octets",
    "_s": "seconds",
    "form_field_count": "fields",
    "form_file_count": "files",
    "field_count": "lines",
    "connections": "connections",
    "in_flight": "requests",
    "stream_resets": "streams",
    "streams": "requests",
    "control_frames": "frames",
    "continuations": "frames",
}
"""By the end of a bound's name; the first that fits counts."""


def make_documents() -> dict[Path, str]:
    """Make the text that each document should have now."""
    reference = REPOSITORY / "docs" / "reference"
    made = {
        reference / "settings.md": write_settings(),
        reference / "control-schema.json": write_schema(),
        reference / "blazeio-supervisor.1": write_manual(),
    }
    for path, name, rows in (
        (reference / "supervisor.md", "verbs", make_verb_rows()),
        (reference / "supervisor.md", "exit codes", make_exit_rows()),
        (reference / "events.md", "events", make_event_rows()),
        (reference / "limits.md", "limits", make_limit_rows()),
        (reference / "metrics.md", "metrics", make_metric_rows()),
        *(
            (reference / "request.md", section, make_name_rows(list_of_r(section)))
            for section in (
                "what was asked",
                "reading",
                "answering",
                "the connection",
                "what stands behind it",
            )
        ),
        *(
            (reference / "names.md", section, make_name_rows(list_of_io(section)))
            for section in ("serving", "the client", "errors")
        ),
    ):
        made[path] = fill(made.get(path) or path.read_text(), name, rows)
    return made


def fill(text: str, name: str, rows: Iterable[str]) -> str:
    """Put rows where a document has the part of this name.

    Raises:
        ValueError: It has none.
    """
    begin, end = f"<!-- {name}: made by `make docs` -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    if not found or end not in rest:
        message = f"the document has no {begin.strip()} ... {end}"
        raise ValueError(message)
    inside = "".join(f"{row}\n" for row in rows)
    return f"{before}{begin}{inside}{end}{rest.partition(end)[2]}"


def make_row(*cells: str) -> str:
    """Make a row of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def make_table(*columns: str) -> list[str]:
    """Make the head of a table."""
    return [make_row(*columns), f"|{'---|' * len(columns)}"]


def make_exit_rows() -> Iterator[str]:
    """Make the table of the exit codes."""
    yield from make_table("code", "why")
    for code, meaning in EXIT_MEANINGS.items():
        yield make_row(str(int(code)), meaning)


def make_verb_rows() -> Iterator[str]:
    """Make the table of the verbs, each with its arguments."""
    yield from make_table("verb", "what it does")
    for verb in list_verbs().values():
        command = verb.load()
        context = click.Context(command)
        arguments = [
            param.make_metavar(context)
            for param in command.params
            if isinstance(param, click.Argument)
        ]
        yield make_row(f"`{' '.join([verb.name, *arguments])}`", verb.summary)


def make_event_rows() -> Iterator[str]:
    """Make the table of the events."""
    yield from make_table("event", "what has happened")
    for name, meaning in EVENTS.items():
        yield make_row(f"`{name}`", meaning)


def make_limit_rows() -> Iterator[str]:
    """Make the table of the bounds of the request path."""
    entries = read_attributes(Limits)
    options = {each.of: each.flag for each in list_options(WorkerLimits)}
    yield from make_table("name", "unit", "default", "option", "what it bounds")
    for field in dataclasses.fields(Limits):
        name = field.name
        unit = next(unit for end, unit in UNITS.items() if name.endswith(end))
        yield make_row(
            f"`{name}`", unit, format_default(name), f"`{options[name]}`", entries[name]
        )


def make_name_rows(names: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Make a table of names and what they are."""
    yield from make_table("name", "what it is")
    for name, meaning in names:
        yield make_row(name, meaning)


def make_metric_rows() -> Iterator[str]:
    """Make the table of the metrics."""
    yield from make_table("metric", "type", "labels", "meaning")
    for family in asyncio.run(measure()):
        yield make_row(
            f"`{family.full_name}`",
            family.kind,
            " ".join(f"`{label}`" for label in family.label_names),
            family.help,
        )


async def measure() -> list[ExposedFamily]:
    """Measure a service whose parts are there, without any processes."""
    with tempfile.TemporaryDirectory() as folder:
        harness = MasterHarness(Path(folder))
        return list(list_families(harness.service))


if __name__ == "__main__":
    for path, text in make_documents().items():
        path.write_text(text)
