"""What an option is, how one is added, and the sources that give its value.

Every setting is declared once, as a field of a section (``processes``, ``http`` ...)::

    @dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
    class Times(Section):
        title = "Time"

        drain_idle_s: float = option(
            Seconds(least=0),
            "A worker that ends keeps an idle connection for this long, ...",
            default=2.0,
        )

From it come ``--drain-idle``, ``BLAZEIO_DRAIN_IDLE``, ``drain_idle = 2`` in a
TOML file, the lines of ``--help``, docs/reference/settings.md and ``--print-config``,
and the typed ``settings.drain_idle_s`` that the rest of the program reads. **To add
an option: add the field, use it, run ``make docs``.** What a running master
cannot take over at a reload says ``change=Change.RESTART``. What only shows in
several fields together, or on this machine, is looked at by the section's
``check``.

The declaration is a dataclass and not a msgspec Struct: a field may carry what
the generators need, and since three notations (words, variables, TOML) are read
by one reader for each kind, msgspec's conversion would have nothing to do. A
section is only ever a part of ``Settings``, which has the methods that compare and
show it: made for each section too they would cost every start 12 ms.

The first source that has an option counts: the command line, then the environment,
then the file, then the default. The file is that of ``--config``, else blazeio.toml,
else pyproject.toml. Its keys are the names of the options, with underscores; there are
no tables but ``[tool.blazeio]`` in a pyproject.toml. With ``--no-config`` no file is
read. A file that another user may write is refused, see ``trust.py``.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET

from blazeio_supervisor.config.environment import StartEnvironment
from blazeio_supervisor.config.types import Flag, Kind, Many, Plain
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.files import read

PREFIX = "BLAZEIO_"
_METADATA = "option"


class Change(StrEnum):
    """When a new value of a setting comes into force in a running service."""

    RELOAD = "reload"
    RESTART = "restart"


class SettingError(ValueError):
    """A setting cannot have this value; whoever reports it names the option first.

    Args:
        field: The name of the setting in ``Settings``.
        reason: What was expected, or why the value cannot be.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting.

    Attributes:
        kind: How its value is written and read.
        help: What it does and what happens then, for somebody who is in a hurry.
        default: The value when none is given; MISSING: see ``initial``.
        initial: The text that is read at each start when no value is given; "": a
            value must be given.
        default_text: The default in words, where the value says too little.
        change: When a new value comes into force.
        of: The field of the library's settings that it sets; "": none.
        is_secret: Whether its values are shown only to somebody who asks for them.
        field: The name of the setting in ``Settings``.
        key: Its name in a TOML file.
        section: The title that it is listed under.
    """

    kind: Kind[Any]
    help: str
    default: Any = MISSING
    initial: str = ""
    default_text: str = ""
    change: Change = Change.RELOAD
    of: str = ""
    is_secret: bool = False
    field: str = ""
    key: str = ""
    section: str = ""

    @property
    def has_default(self) -> bool:
        """Whether it may be left out, for a value that is known before the start."""
        return self.default is not MISSING

    @property
    def is_argument(self) -> bool:
        """Whether it is typed without a name: APP alone, which has no default."""
        return not (self.has_default or self.initial)

    @property
    def is_denial(self) -> bool:
        """Whether its name begins with "no": such a switch has no opposite."""
        return self.key.startswith("no_")

    @property
    def flag(self) -> str:
        """Its name on the command line; of the argument: what stands for it."""
        if self.is_argument:
            return self.kind.metavar
        return f"--{self.key.replace('_', '-')}"

    @property
    def listed_flag(self) -> str:
        """The spelling that changes the default, ``--no-this`` of one that is on."""
        is_on = isinstance(self.kind, Flag) and self.default is not False
        return f"--no-{self.flag[2:]}" if is_on else self.flag

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"{PREFIX}{self.key.upper()}"

    @property
    def spellings(self) -> list[str]:
        """How it is declared to click: ``--this/--no-this`` where it is a switch."""
        if isinstance(self.kind, Flag) and not self.is_denial:
            return [f"{self.flag}/--no-{self.flag[2:]}", self.field]
        return [self.flag, self.field]

    @property
    def shown_default(self) -> str:
        """The default as the help and the documents say it; "" where they say none."""
        if self.is_argument:
            return ""
        if self.default_text or self.initial:
            return self.default_text or self.initial
        if isinstance(self.kind, Flag):
            return ""  # --no-this says it
        return self.kind.write_text(self.default)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Section(StartEnvironment):
    """Options that are listed together: a class with a field for each.

    Attributes:
        title: Stands above them in ``--help``.
    """

    title: ClassVar[str]

    def check(self) -> None:
        """Check what only shows in several fields together, or on this machine.

        Raises:
            SettingError: A setting cannot have its value.
        """


def option(
    kind: Kind[Any],
    help: str,  # noqa: A002 - as click and argparse call it
    *,
    default: Any = MISSING,
    initial: str = "",
    default_text: str = "",
    change: Change = Change.RELOAD,
    of: str = "",
    is_secret: bool = False,
    key: str = "",
) -> Any:
    """Declare a field of a section as an option; see ``Option``.

    Args:
        key: The key, where it is not the name of the field without its unit.
    """
    declared = Option(
        kind=kind,
        help=help,
        default=default,
        initial=initial,
        default_text=default_text,
        change=change,
        of=of,
        is_secret=is_secret,
        key=key,
    )
    metadata = {_METADATA: declared}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def list_options(section: type[Section]) -> Iterator[Option]:
    """Iterate over the options that a section declares, in their order."""
    for each in fields(section):
        declared: Option | None = each.metadata.get(_METADATA)
        if declared is not None:
            yield replace(
                declared,
                field=each.name,
                key=declared.key or declared.kind.strip_unit(each.name),
                section=section.title,
            )


# The sources: what was given for each option, and where.


DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Given:
    """The value of one option.

    Attributes:
        value: As ``Settings`` has it.
        written: As it was given; None: it was not.
        origin: A flag, a variable, the path of a file, or ``default``.
        label: How a message names option and value: ``--workers 0``,
            ``BLAZEIO_WORKERS=0``; "" where the message itself does.
    """

    value: Any = UNSET  # which is not written down
    written: Plain | Mapping[str, str] | None = None
    origin: str = DEFAULT
    label: str = ""

    @property
    def is_default(self) -> bool:
        """Whether no source has given a value."""
        return self.origin == DEFAULT


Source = Mapping[str, Given]
"""What one source gives, by the field of ``Settings``."""


def read_given(
    read: Callable[[Any], Any], written: Any, origin: str, label: str
) -> Given:
    """Read one value.

    Raises:
        UsageError: The value cannot be; the line names where it was given.
    """
    try:
        return Given(read(written), written, origin, label)
    except ValueError as error:
        where = f"{label}: " if label else ""
        raise UsageError(f"{where}{error}") from None


def read_default(option: Option) -> Given | None:
    """Return the value when none is given; None: one must be given."""
    if option.initial:
        value = option.kind.read(option.initial)
        return Given(value, option.initial, DEFAULT, option.flag)
    if option.has_default:
        written = option.kind.write(option.default)
        return Given(option.default, written, DEFAULT, option.flag)
    return None


def choose(options: Iterable[Option], sources: Iterable[Source]) -> dict[str, Given]:
    """Take the value of each option from the first source that has one."""
    chosen: dict[str, Given] = {}
    ranked = [*sources]
    for option in options:
        said = (source[option.field] for source in ranked if option.field in source)
        found = next(said, None) or read_default(option)
        if found is not None:
            chosen[option.field] = found
    return chosen


OWN_FILE = "blazeio.toml"
PROJECT_FILE = "pyproject.toml"
NO_FILE = "--no-config"


def find_config_file(folder: str, named: str) -> str:
    """Find the file to read; "": there is none.

    Args:
        folder: Where the service was started.
        named: The path that was given by ``--config``.

    Raises:
        UsageError: The file that was named is not there, or one cannot be read.
    """
    if named:
        # From the folder of the start: ``--chdir`` has changed the directory by the
        # time of a reload.
        path = os.path.join(folder, named)
        if not os.path.exists(path):
            raise UsageError(f"--config {named}: no such file")
        return path
    own = os.path.join(folder, OWN_FILE)
    # lexists: a link that leads nowhere is read, and fails; to go on without its
    # settings would be worse.
    if os.path.lexists(own):
        return own
    project = os.path.join(folder, PROJECT_FILE)
    return project if os.path.isfile(project) and _names_us(project) else ""


def _names_us(project: str) -> bool:
    """Tell whether the file of a project, which nobody has named, has settings for us.

    A file that cannot be read may have some: going on without them would mean to serve
    with other bounds, users or addresses than were written down.
    """
    try:
        # Who owns it matters only where it has settings: most projects have none.
        return "blazeio" in _read_tools(project, is_judged=False)
    except UsageError as error:
        raise UsageError(f"{error}; mend it, or start with {NO_FILE}") from None


def read_config_file(options: Iterable[Option], path: str) -> dict[str, Given]:
    """Read every key of a file, by the field of ``Settings``.

    Args:
        options: All options.
        path: The path of the file; "": there is none.

    Raises:
        UsageError: The file cannot be read, a key is unknown, or a value cannot be.
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
    import tomllib  # most services have no such file

    try:
        return tomllib.loads(read(path, is_judged=is_judged).decode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: this is not TOML: {error}") from None


def _suggest(key: str, known: Iterable[str]) -> str:
    plain = key.replace("-", "_").lower()
    from difflib import get_close_matches

    near = [plain] if plain in known else get_close_matches(plain, known, 1)
    if near:
        return f": did you mean {near[0]!r}?"
    return ": every option of --help is one, with _ for -; there are no others"


def _write(value: Any) -> str:
    """Write a TOML value on one line; of a table only the braces."""
    if isinstance(value, dict):
        return "{...}"
    try:
        return msgspec.json.encode(value).decode()
    except TypeError:
        return str(value)


# The command line: what was typed.


def read_command_line(
    options: Iterable[Option], words: Mapping[str, Any]
) -> dict[str, Given]:
    """Read what was typed, by the field of ``Settings``.

    Args:
        options: All options.
        words: What click has found; None or empty for what was not typed.

    Raises:
        UsageError: A value cannot be.
    """
    given = {}
    for option in options:
        typed = words.get(option.field)
        # Click gives an empty tuple for an option that may be repeated and was not
        # typed; behind an upgrade, where the words were decoded, it is a list.
        if typed is None or typed in ((), []):
            continue
        given[option.field] = _read(option, typed)
    return given


def _read(option: Option, typed: Any) -> Given:
    if isinstance(option.kind, Flag):
        flag = option.flag if typed else f"--no-{option.flag[2:]}"
        return Given(typed, typed, flag, flag)
    if isinstance(option.kind, Many):
        parts = [_read_one(option, text) for text in typed]
        value = tuple(value for part in parts for value in part.value)
        label = " ".join(part.label for part in parts)
        return Given(value, list(typed), option.flag, label)
    return _read_one(option, typed)


def _read_one(option: Option, text: str) -> Given:
    label = "" if option.is_argument else f"{option.flag} {text or repr(text)}"
    return read_given(option.kind.read, text, option.flag, label)


# The environment: for each option a variable, ``BLAZEIO_`` and the option's name.


OTHER_VARIABLES = {"workers": "WEB_CONCURRENCY"}
"""Variables that platforms set; our own variables win over them."""
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
_OF_OPERATORS = (CONFIG_VARIABLE, f"{PREFIX}INSTANCE")
"""What is no setting, and is set as those are: the file, the service of a verb."""
_OTHERS = {f"{PREFIX}COMPILE", f"{PREFIX}PURE", f"{PREFIX}SERVED_FOLDER"}
"""What else we read; it is nobody's mistake, and nobody's suggestion."""
_NEARNESS = 0.8


def read_environment(
    options: Iterable[Option], environ: Mapping[str, str]
) -> dict[str, Given]:
    """Read every variable that is set and not empty, by the field of ``Settings``.

    Raises:
        UsageError: A value cannot be.
    """
    given = {}
    for option in options:
        for variable in (option.variable, OTHER_VARIABLES.get(option.field, "")):
            text = environ.get(variable, "")
            # An empty one counts as not set: Compose and CI set variables that have no
            # value so.
            if text and option.field not in given:
                label = variable if option.is_secret else f"{variable}={text}"
                read = option.kind.read_variable
                given[option.field] = read_given(read, text, variable, label)
    return given


def find_misspelt(
    options: Iterable[Option], environ: Mapping[str, str]
) -> dict[str, str]:
    """Find variables that are nearly named as ours, with what was probably meant.

    Variables whose name is far from any of ours are left alone: a container platform
    names variables after its services, and one of these may be called blazeio.
    """
    ours = [*(option.variable for option in options), *_OF_OPERATORS]
    prefixed = [name for name in environ if name.startswith(PREFIX)]
    found = {}
    for name in sorted(set(prefixed) - set(ours) - _OTHERS):
        from difflib import get_close_matches  # in most services there is none

        # Near names only: in a pod Kubernetes sets variables such as
        # BLAZEIO_SERVICE_HOST for a Service that is called blazeio, and these are no
        # mistakes.
        near = get_close_matches(name, ours, 1, _NEARNESS)
        if near:
            found[name] = near[0]
    return found
