"""``--log-config FILE``: all of logging, as ``logging.config.dictConfig`` reads it.

For whoever wants other formats, handlers or destinations than ours: the file then
says all of it, for the master and for the app's processes, before the app is
imported. The events of a service are kept and counted whatever it says.
"""

import json
import os
import tomllib
from collections.abc import Callable
from typing import Any

from blazeio_supervisor.files.opening import read


class LogConfigError(ValueError):
    """The file cannot be read, or holds something else; says why in one line."""


def read_log_config(path: str) -> dict[str, Any]:
    """Read the file.

    Args:
        path: Ends in ``.toml``, ``.json``, ``.yaml`` or ``.yml``.

    Returns:
        For ``dictConfig``; ``version`` is 1 and ``disable_existing_loggers`` false
        where it does not say otherwise.

    Raises:
        LogConfigError: It cannot be read.
    """
    parse = _PARSERS.get(os.path.splitext(path)[1].lower())
    if parse is None:
        raise LogConfigError(f"{path}: expected a name in {', '.join(_PARSERS)}")
    try:
        found = parse(read(path).decode())
    except OSError as error:
        raise LogConfigError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        line = str(error).partition("\n")[0]
        raise LogConfigError(f"{path} cannot be read: {line}") from None
    if not isinstance(found, dict):
        raise LogConfigError(f"{path}: expected a table of settings")
    return {"version": 1, "disable_existing_loggers": False, **found}


def _parse_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError(
            "YAML needs PyYAML (pip install pyyaml); TOML and JSON need nothing"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".toml": tomllib.loads,
    ".json": json.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}
