"""What was meant, when an APP is not found as it was typed.

Other servers take ``main.py``, look for a package below ``src``, or are called by the
script themselves. Here that is said in one line, with the words to type instead.
"""

import ast
import os
from collections.abc import Iterator

from blazeio_supervisor.files import read

USUAL_NAMES = ("app", "application", "web")
"""What is looked for in a module that is named alone."""

_FOLDER_COUNT = 200  # of a folder; more are not looked through
_OTHER_SERVERS = frozenset({"uvicorn", "hypercorn", "granian", "waitress", "bjoern"})
_OTHER_CALLS = frozenset({"run", "serve"})


def suggest_place(module: str, folder: str) -> str:
    """Return where a module lies that is not in ``folder`` itself; "" if nowhere.

    Args:
        module: Its dotted name.
        folder: Where it was looked for; the folders in it are looked through.
    """
    parts = module.split(".")
    for name in _list_folders(folder):
        below = os.path.join(folder, name)
        if not _is_module(os.path.join(below, *parts)):
            continue
        if os.path.isfile(os.path.join(below, "__init__.py")):
            return f"; did you mean {name}.{module}?"
        return f"; it is in {name}: --app-dir {os.path.relpath(below)}"
    return ""


def _list_folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for _, entry in zip(range(_FOLDER_COUNT), entries, strict=False)
                if entry.name.isidentifier() and entry.is_dir()
            ]
    except OSError:
        return []  # it is a guess only
    return sorted(names)


def _is_module(path: str) -> bool:
    return os.path.isfile(f"{path}.py") or os.path.isfile(f"{path}/__init__.py")


def suggest_module(script: str, *, is_in_package: bool = False) -> str:
    """Return how the app of a script is served as one of a module; "" if it cannot.

    Args:
        script: Its path.
        is_in_package: It is in a package, also if that has no ``__init__.py``.
    """
    folder, name = os.path.split(os.path.abspath(script))
    module = name.removesuffix(".py")
    while is_in_package or os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        module = f"{package}.{module}"
        is_in_package = False
    if not all(part.isidentifier() for part in module.split(".")):
        return ""
    attribute = next(_find_assigned(_parse(script), USUAL_NAMES), "NAME")
    where = os.path.relpath(folder)
    option = "" if where == "." else f" --app-dir {where}"
    return f"; an app in it is served as `{module}:{attribute}{option}`"


def suggest_package(error: BaseException, path: str) -> str:
    """Return what to type where a relative import has failed; "" for other errors.

    A script is in no package, and neither is a module that is imported from its own
    folder.
    """
    is_relative = isinstance(error, ImportError) and "relative import" in str(error)
    return suggest_module(path, is_in_package=True) if is_relative else ""


def find_other_server(script: str) -> str:
    """Return the line where a script starts a server that is not ours; "" if none.

    Each worker would do so, at an address of its own that nobody has named, and the
    first one might even get the address that the master keeps for the workers. A
    script that mentions ``runner`` is believed to know what it does.
    """
    tree = _parse(script)
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if "runner" in names:
        return ""
    apps = {*_find_assigned(tree, USUAL_NAMES)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Attribute(ast.Name(owner), call)) if (
                call in _OTHER_CALLS and (owner in _OTHER_SERVERS or owner in apps)
            ):
                return f"{owner}.{call}() in line {node.lineno}"
    return ""


def _parse(script: str) -> ast.Module:
    try:
        # Not judged: it is run by the user that reads it here.
        return ast.parse(read(script, is_judged=False))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])  # whoever runs it finds out what is wrong


def _find_assigned(tree: ast.Module, names: tuple[str, ...]) -> Iterator[str]:
    """Find which of these names a module assigns at its top level."""
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    return (name for name in names if name in assigned)
