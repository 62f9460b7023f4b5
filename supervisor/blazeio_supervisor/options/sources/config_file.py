"""What a TOML file says: ``--config``, else blazeio.toml, else pyproject.toml.

Keys are the names of the options, with underscores; there are no tables, but
``[tool.blazeio]`` in a pyproject.toml. With ``--no-config`` there is no file. One
that another user may write is refused, see ``files/trust.py``.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.files.opening import read
from blazeio_supervisor.options.option import Option
from blazeio_supervisor.options.sources.given import Given, read_given

OWN_FILE = "blazeio.toml"
PROJECT_FILE = "pyproject.toml"
NO_FILE = "--no-config"


def find_config_file(folder: str, named: str) -> str:
    """Find the file that counts; "": there is none.

    Args:
        folder: Where the service was started.
        named: By ``--config``; it must be there.

    Raises:
        UsageError: It is not, or cannot be read.
    """
    if named:
        path = os.path.join(folder, named)  # also after the master went elsewhere
        if not os.path.exists(path):
            raise UsageError(f"--config {named}: no such file")
        return path
    own = os.path.join(folder, OWN_FILE)
    if os.path.lexists(own):
        return own
    project = os.path.join(folder, PROJECT_FILE)
    return project if os.path.isfile(project) and _names_us(project) else ""


def _names_us(project: str) -> bool:
    """Whether a project that nobody has named has settings for us.

    One that cannot be read may have: to go on without them would be to serve with
    other bounds, users or addresses than were written down.
    """
    try:
        # Whose it is matters only where it is for us: most projects say nothing.
        return "blazeio" in _read_tools(project, is_judged=False)
    except UsageError as error:
        raise UsageError(f"{error}; mend it, or start with {NO_FILE}") from None


def read_config_file(options: Iterable[Option], path: str) -> dict[str, Given]:
    """Read every key of a file, by field.

    Args:
        path: Of the file; "": nothing is said.

    Raises:
        UsageError: The file, a key or a value cannot be.
    """
    if not path:
        return {}
    by_key = {option.key: option for option in options}
    given = {}
    for key, value in _read_table(path).items():
        option = by_key.get(key)
        if option is None:
            raise UsageError(f"{path}: unknown key {key!r}{_suggest(key, by_key)}")
        shown = "" if option.is_secret else f" = {_write(value)}"
        label = f"{path}: {key}{shown}"
        given[option.field] = read_given(option.kind.read_native, value, path, label)
    return given


def _read_table(path: str) -> Mapping[str, Any]:
    if os.path.basename(path) != PROJECT_FILE:
        return _parse(path)
    table = _read_tools(path).get("blazeio")
    if not isinstance(table, dict):
        raise UsageError(f"{path}: there is no table [tool.blazeio]")
    return table


def _read_tools(project: str, *, is_judged: bool = True) -> Mapping[str, Any]:
    tools = _parse(project, is_judged=is_judged).get("tool")
    return tools if isinstance(tools, dict) else {}


def _parse(path: str, *, is_judged: bool = True) -> dict[str, Any]:
    try:
        return tomllib.loads(read(path, is_judged=is_judged).decode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: this is no TOML: {error}") from None


def _suggest(key: str, known: Iterable[str]) -> str:
    plain = key.replace("-", "_")
    near = [plain] if plain in known else difflib.get_close_matches(plain, known, 1)
    if near:
        return f": did you mean {near[0]!r}?"
    return ": every option of --help is one, with _ for -; there are no others"


def _write(value: Any) -> str:
    """Write a TOML value on one line; a table only hinted at."""
    if isinstance(value, dict):
        return "{...}"
    try:
        return msgspec.json.encode(value).decode()
    except TypeError:
        return str(value)
