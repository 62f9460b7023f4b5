"""Loading the app, and saying briefly why it failed.

Runs in the forkserver (or in a worker when the app cannot be forked). Knows no
framework: whoever calls says what an App looks like.
"""

import ast
import importlib
import os
import runpy
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

from blazeio_supervisor.config.command_line import AppPath
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.files import read

_FRAME_COUNT = 20
_FRAMES_CHARS = 16_000  # both must fit into one message
_REASON_CHARS = 500
_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OUR_FRAMES = (_OUR_FOLDER + os.sep, "<frozen ", importlib.__file__, runpy.__file__)
_FRAMEWORK = "blazeio"  # looked up, not imported: the app brings it
_MOVED = {"blazeio_supervisor.worker.overrides": "blazeio_supervisor.api"}
"""Where ``serve FOLDER`` had its app, and where it is: a service that was upgraded has
the name of its start."""


class LoadError(Exception):
    """The app cannot be loaded.

    Args:
        code: The exit code that this deserves.
        reason: One line.
        frames: The app's own traceback; "" when none of its code ran.
    """

    def __init__(self, code: ExitCode, reason: str, frames: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.frames = frames


def enter_folder(app_dir: str) -> None:
    """Make the app's folder importable, before everything else.

    Symbolic links are followed once, here: when ``current`` is moved to a new
    release, what this process still imports comes from the old one.
    """
    path = os.path.realpath(app_dir)
    # "" means the working directory of the moment, which the app may change: what it
    # imports later would come from there.
    sys.path[:] = [path, *(entry for entry in sys.path if entry not in ("", path))]


AppT = TypeVar("AppT")

Adopt = Callable[[object, str], AppT | None]
"""From what was found and its name to the app that is served; None: it is a function
that makes one. Raises ``ValueError`` where it is neither, which says what to do."""


def load_app(path: AppPath, adopt: Adopt[AppT], *, is_factory: bool = False) -> AppT:
    """Import the module, follow the attribute, call it if it is a factory.

    Args:
        path: What to load.
        adopt: Knows what an app is.
        is_factory: The attribute must be a factory.

    Raises:
        LoadError: The operator's fault (no such module or attribute) or the
            app's (its code raised).
    """
    module = _import(path)
    if path.attribute:
        name, found = path.text, _follow(module, path)
    else:
        name, found = _find_usual(module, path)
    app = _adopt(adopt, found, name, must_call=is_factory)
    if app is not None and is_factory:
        reason = f"{name} is an app, and no function that makes one (--factory)"
        raise LoadError(ExitCode.NOT_IMPORTABLE, reason)
    if app is not None:
        return app
    if not callable(found):
        reason = f"{name} is {_describe_type(found)}, and no function (--factory)"
        raise LoadError(ExitCode.NOT_IMPORTABLE, reason)
    try:
        made = found()
    except BaseException as error:
        raise describe_failure(error, f"the factory {name} raised") from error
    app = _adopt(adopt, made, f"what the factory {name} gave")
    if app is None:
        raise LoadError(
            ExitCode.NOT_IMPORTABLE,
            f"the factory {name} gave {_describe_type(made)}, not an app",
        )
    return app


def find_object(path: AppPath) -> object:
    """Import a module, and return what its attribute is.

    Raises:
        LoadError: There is no such module or attribute, or its code raised.
    """
    return _follow(_import(path), path)


def _adopt(
    adopt: Adopt[AppT], found: object, name: str, *, must_call: bool = False
) -> AppT | None:
    try:
        return adopt(found, name)
    except ValueError as error:
        if must_call:
            return None  # by --factory it is known what to do with it
        raise LoadError(ExitCode.NOT_IMPORTABLE, str(error)) from None


def _find_usual(module: object, path: AppPath) -> tuple[str, object]:
    """Find the app of a module that was named alone."""
    for name in USUAL_NAMES:
        if hasattr(module, name):
            return f"{path.module}:{name}", getattr(module, name)
    tried = ", ".join(USUAL_NAMES[:-1])
    raise LoadError(
        ExitCode.NOT_IMPORTABLE,
        f"module {path.module!r} has no {tried} or {USUAL_NAMES[-1]}: write "
        f"`{path.module}:NAME`{_list_names(module)}",
    )


_LISTED_NAMES = 10


def _list_names(module: object) -> str:
    """List what can be called in a module; what it has imported comes last."""
    own = getattr(module, "__name__", None)
    names = [
        (getattr(value, "__module__", None) != own, name)
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_")
    ]
    found = [name for _, name in sorted(names, key=lambda each: each[0])]
    return f"; it holds {', '.join(found[:_LISTED_NAMES])}" if found else ""


def run_script(path: AppPath) -> None:
    """Run a script as ``__main__``, as ``python script.py`` would.

    Raises:
        LoadError: There is no such file, or another server is started in it.
    """
    if not os.path.isfile(path.script):
        raise LoadError(
            ExitCode.NOT_IMPORTABLE,
            f"no such file: {path.script} (looked in {os.getcwd()})",
        )
    other = find_other_server(path.script)
    if other:
        raise LoadError(
            ExitCode.NOT_IMPORTABLE,
            f"{path.text} starts a server of its own: {other}"
            f"{suggest_module(path.script)}",
        )
    enter_folder(os.path.dirname(path.script))
    sys.argv[:] = [path.script]
    runpy.run_path(path.script, run_name="__main__")


def describe_failure(
    error: BaseException,
    what: str,
    code: ExitCode = ExitCode.APP_FAILED,
) -> LoadError:
    """Return one line and a short traceback of what an app's code raised.

    A crash may be our own fault: its traceback is whole.
    """
    where = _find_app_frame(error.__traceback__)
    reason = f"{what}: {_describe_error(error)}{where}{_hint(error)}"
    if code is ExitCode.CRASHED:
        frames = "".join(traceback.format_exception(error))
    else:
        frames = format_app_frames(error)
    return LoadError(code, reason, frames[-_FRAMES_CHARS:])


def format_app_frames(error: BaseException) -> str:
    """Format a traceback without the frames of the machinery around the app."""
    report = traceback.TracebackException.from_exception(error)
    todo: list[traceback.TracebackException | None] = [report]
    while todo:
        part = todo.pop()
        if part is not None:
            kept = [frame for frame in part.stack if _is_of_app(frame)]
            part.stack = traceback.StackSummary.from_list(kept[-_FRAME_COUNT:])
            todo += [part.__cause__, part.__context__]
    return "".join(report.format())


def _describe_error(error: BaseException) -> str:
    """Return type and text in one line, as the last line of a traceback."""
    name = type(error).__name__
    try:
        lines = str(error).splitlines()
    except Exception as fault:
        return f"{name}, whose text cannot be shown ({type(fault).__name__} in __str__)"
    return f"{name}: {lines[0]}"[:_REASON_CHARS] if lines else name


def _import(path: AppPath) -> object:
    try:
        return importlib.import_module(_MOVED.get(path.module, path.module))
    except ModuleNotFoundError as error:
        if error.name is None or not _is_prefix(error.name, path.module):
            raise _describe_import(error, path) from error
        raise LoadError(
            ExitCode.NOT_IMPORTABLE,
            f"no module named {error.name!r} in {sys.path[0]} "
            f"(--app-dir) or the environment{suggest_place(path.module, sys.path[0])}",
        ) from error
    except BaseException as error:
        # SystemExit too: an app that exits while it is imported has failed.
        raise _describe_import(error, path) from error


def _describe_import(error: BaseException, path: AppPath) -> LoadError:
    what = f"{path.module} failed to import"
    failure = describe_failure(error, what, ExitCode.NOT_IMPORTABLE)
    own = os.path.join(sys.path[0], *path.module.split(".")) + ".py"
    if os.path.isfile(own):
        failure.reason += suggest_package(error, own)
    return failure


def _hint(error: BaseException) -> str:
    """Return what to do about an error that many meet; "" for others."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        top, _, rest = error.name.partition(".")
        if not rest or top not in sys.modules:
            return f"; is it installed in {sys.prefix}?"
    if isinstance(error, KeyError) and _is_raised_by(error, os.environ.__getitem__):
        return "; no such variable is set: --env NAME=VALUE, or a file by --env-file"
    return ""


def _is_raised_by(error: BaseException, function: Callable[..., object]) -> bool:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_code is function.__code__


def _is_prefix(name: str, module: str) -> bool:
    return module == name or module.startswith(name + ".")


def _follow(module: object, path: AppPath) -> object:
    found = module
    for part in path.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise LoadError(
                ExitCode.NOT_IMPORTABLE,
                f"module {path.module!r} has no attribute {path.attribute!r}"
                f"{_suggest(module, part)}",
            ) from error
    return found


def _suggest(module: object, missing: str) -> str:
    """Return the names in a module that are of an App, else one that is nearly it."""
    values = {k: v for k, v in vars(module).items() if not k.startswith("_")}
    names = [name for name, value in values.items() if type(value).__name__ == "App"]
    if not names:
        from difflib import get_close_matches

        names = get_close_matches(missing, values, 1)
    return f": did you mean {' or '.join(names)}?" if names else ""


def _describe_type(found: object) -> str:
    return f"of type {type(found).__name__!r}"


def _is_of_app(frame: traceback.FrameSummary) -> bool:
    framework = getattr(sys.modules.get(_FRAMEWORK), "__file__", None)
    if framework and frame.filename.startswith(os.path.dirname(framework) + os.sep):
        return False
    return not frame.filename.startswith(_OUR_FRAMES)


def _find_app_frame(tb: TracebackType | None) -> str:
    frames = [frame for frame in traceback.extract_tb(tb) if _is_of_app(frame)]
    if not frames:
        return ""
    name = frames[-1].filename.removeprefix(os.getcwd() + os.sep)
    return f" ({name}:{frames[-1].lineno})"


# Where in the app's code something was made while it was imported.
#
# An audit hook is told when a file is opened, a process or a thread is started. It
# cannot be taken away again, so it is switched off instead: from then on it costs
# 60 ns for each audited call, of which a request has none.


_STANDARD = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep
    for name in ("stdlib", "platstdlib")
)
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_FRAMEWORK_FOLDER = f"{os.sep}blazeio{os.sep}"

PROCESS, SOCKET, MAP = "process", "socket", "map"
_KINDS = {
    "subprocess.Popen": PROCESS,
    "os.fork": PROCESS,
    "os.forkpty": PROCESS,
    "os.posix_spawn": PROCESS,
    "socket.__new__": SOCKET,
    "mmap.__new__": MAP,
}
_THREADS = ("_thread.start_new_thread", "_thread.start_joinable_thread")


class ImportOrigins:
    """Notes where things are made, from ``begin`` to ``end``.

    Attributes:
        files: By path, the place where each was opened last.
        threads: By the identity of the ``Thread``, the place where it was started.
        places: By kind, the places in the order of what was made there.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.threads: dict[int, str] = {}
        self.places: dict[str, list[str]] = {}
        self._is_on = False

    def begin(self) -> None:
        """Begin to note."""
        self._is_on = True
        sys.addaudithook(self._on_message)

    def end(self) -> None:
        """Stop noting."""
        self._is_on = False

    def forget(self) -> None:
        """Forget all; the hook itself cannot be removed."""
        self.files.clear()
        self.threads.clear()
        self.places.clear()

    def find_file(self, path: str) -> str:
        """Return where a file was opened; "" when that is not known."""
        return self.files.get(path, "")

    def find_all(self, kind: str) -> str:
        """Return all places where such were made, in words; "" when there is none."""
        return ", ".join(dict.fromkeys(self.places.get(kind, ())))

    def _on_message(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        if event == "open":
            self._note_file(arguments[0])
        elif event in _KINDS:
            self._note(lambda at: self.places.setdefault(_KINDS[event], []).append(at))
        elif event in _THREADS:
            thread = getattr(arguments[0], "__self__", None)
            self._note(lambda at: self.threads.__setitem__(id(thread), at))

    def _note_file(self, path: object) -> None:
        if isinstance(path, str | bytes):
            text = os.path.abspath(os.fsdecode(path))
            self._note(lambda at: self.files.__setitem__(text, at))

    def _note(self, take: Callable[[str], None]) -> None:
        place = _locate(sys._getframe(2))
        if place:
            take(place)


def _locate(frame: FrameType | None) -> str:
    """Return the line of the app that led here; "" when none of its code did.

    It is the innermost one, if there is one that is not of an installed package.
    """
    found = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") and not found:
            return ""  # the module itself is read
        if not is_machinery(name):
            place = f"{name.removeprefix(os.getcwd() + os.sep)}:{frame.f_lineno}"
            if not any(folder in name for folder in _INSTALLED):
                return place
            found = found or place
        frame = frame.f_back
    return found


def is_machinery(name: str) -> bool:
    """Whether a file of code is of the standard library, or of ours."""
    if name.startswith((*_STANDARD, _OURS, "<frozen ")):
        return not any(folder in name for folder in _INSTALLED)
    return _FRAMEWORK_FOLDER in name


# What was meant, when an APP is not found as it was typed.
#
# Other servers take ``main.py``, look for a package below ``src``, or are called by the
# script themselves. Here that is said in one line, with the words to type instead.


USUAL_NAMES = ("app", "application", "web")
"""What is looked for in a module that is named alone."""

_ENTRY_COUNT = 200  # of a folder; more are not looked through
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
    near = _find_near(parts, folder)
    return f"; did you mean {near}?" if near else ""


def _find_near(parts: list[str], folder: str) -> str:
    """Return a module of nearly the same name; "" if there is none."""
    for at, part in enumerate(parts):
        names = _list_modules(folder)
        if part not in names:
            from difflib import get_close_matches

            near = get_close_matches(part, names, 1)
            return ".".join([*parts[:at], *near, *parts[at + 1 :]]) if near else ""
        folder = os.path.join(folder, part)
    return ""


def _list_modules(folder: str) -> list[str]:
    scripts = [name.removesuffix(".py") for name in _list_entries(folder, is_file=True)]
    return [each for each in scripts if each.isidentifier()] + _list_folders(folder)


def _list_folders(folder: str) -> list[str]:
    return [each for each in _list_entries(folder) if each.isidentifier()]


def _list_entries(folder: str, *, is_file: bool = False) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for _, entry in zip(range(_ENTRY_COUNT), entries, strict=False)
                if (entry.name.endswith(".py") if is_file else entry.is_dir())
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
