"""Which blazeio this process is, and whether another project stands in its way."""

import os
import re
import sys
from collections.abc import Iterator
from functools import cache

_METADATA = re.compile(r"blazeio_supervisor-(?P<version>[^-]+)\.(dist|egg)-info")
_OF_ANOTHER = re.compile(r"[Bb]lazeio-(?P<version>[^-]+)(-py.+)?\.(dist|egg)-info")
UNKNOWN = "of unknown version"


@cache
def find_version() -> str:
    """Return the version as installed when it was first asked for.

    It is in the name of the folder of its metadata. ``importlib.metadata`` reads
    what is in there with a parser for mail: 12 ms of each start.

    Returns:
        ``UNKNOWN`` where it was run from a folder, without an installation.
    """
    for _, found in _find_metadata(_METADATA):
        return found["version"]
    return UNKNOWN


def explain_another() -> str | None:
    """Explain what to do where a project that is also called blazeio is installed.

    Both write into the folder ``blazeio``, so neither is whole then, in whichever order
    they came. It must be asked before ``blazeio`` is imported.

    Returns:
        One line; None where there is no such project.
    """
    for folder, found in _find_metadata(_OF_ANOTHER):
        return (
            f"another project called blazeio ({found['version']}) is installed in "
            f"{folder}: pip uninstall blazeio && pip install --force-reinstall PATH, "
            "where PATH is a clone or a wheel of blazeio-supervisor"
        )
    return None


def _find_metadata(pattern: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str]]]:
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # an archive, or not there
        for found in filter(None, map(pattern.fullmatch, names)):
            yield folder, found
