"""The access log of all workers."""

import os
from collections.abc import Mapping
from typing import Any

import click

from blazeio.errors import ConfigurationError
from blazeio.server.lines.destination import STANDARD_OUTPUT
from blazeio.server.lines.format import compile_format
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.section import Section

ACCESS_LOG = Section(
    "Access log",
    (
        click.Option(
            ["--access-log"],
            metavar="PATH",
            help="Append a line for each response to this file, - for standard "
            "output. Rename it, then send USR1 to the master: it is opened anew.  "
            "[default: the App's own, else none]",
        ),
        click.Option(
            ["--access-log-format"],
            metavar="FORMAT",
            help="combined, json, json:ATOM,... or text with {atoms}; see "
            "docs/access-log.md.  [default: the App's own, else combined]",
        ),
    ),
)


def read_access_log(given: Mapping[str, Any]) -> dict[str, str | None]:
    """Check both; gives the fields of ``Overrides``.

    Raises:
        UsageError: The format cannot be read, or there is no such folder.
    """
    path, form = given["access_log"], given["access_log_format"]
    if path is not None and path != STANDARD_OUTPUT:
        _check_path(path)
    if form is not None:
        _check_format(form)
    return {"access_log": path, "access_log_format": form}


def _check_path(path: str) -> None:
    folder = os.path.dirname(path) or "."
    if not path or os.path.isdir(path):
        raise UsageError(f"--access-log {path!r}: expected a file, or -")
    if not os.path.isdir(folder):
        raise UsageError(f"--access-log {path}: there is no folder {folder}")


def _check_format(form: str) -> None:
    try:
        compile_format(form, "")
    except ConfigurationError as error:
        raise UsageError(f"--access-log-format: {error}") from None
