"""Which blazeio this process is."""

import os
import re
import sys
from functools import cache

_METADATA = re.compile(r"blazeio_supervisor-(?P<version>[^-]+)\.(dist|egg)-info")
UNKNOWN = "of unknown version"


@cache
def find_version() -> str:
    """Return the version as installed when it was first asked for.

    It is in the name of the folder of its metadata. ``importlib.metadata`` reads
    what is in there with a parser for mail: 12 ms of each start.

    Returns:
        ``UNKNOWN`` where it was run from a folder, without an installation.
    """
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # an archive, or not there
        for found in filter(None, map(_METADATA.fullmatch, names)):
            return found["version"]
    return UNKNOWN
