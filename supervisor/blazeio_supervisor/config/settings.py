"""The settings of a service: all of them, from all sources, over reloads, and as text.

Each option is a field of one of the sections that ``Settings`` consists of; see
``config/option.py``. Here is what follows from several options together. They are
checked, and never changed: a reload makes others.
"""

import os
import random
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct

from blazeio_supervisor.config.addresses import Addresses, Proxies
from blazeio_supervisor.config.command_line import PROGRAM
from blazeio_supervisor.config.environment import StartEnvironment
from blazeio_supervisor.config.http import (
    Gateways,
    Heads,
    Protocols,
    Tls,
    WorkerLimits,
)
from blazeio_supervisor.config.lifecycle import (
    HASTE_S,
    Development,
    FileWatch,
    Renewal,
    Times,
    choose_jitter,
)
from blazeio_supervisor.config.logging import AccessLogging, Logs, Metrics
from blazeio_supervisor.config.option import (
    CONFIG_VARIABLE,
    DEFAULT,
    NO_FILE,
    Change,
    Given,
    Option,
    Section,
    SettingError,
    choose,
    find_config_file,
    list_options,
    read_command_line,
    read_config_file,
    read_environment,
)
from blazeio_supervisor.config.processes import (
    WORKER_LIMIT,
    AddedToApp,
    Privileges,
    Process,
)
from blazeio_supervisor.config.types import Choice, Flag, Many, Number, Plain
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.ipc.messages import (
    Overrides,
)
from blazeio_supervisor.log.formats import encode_json, escape_line
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.bind import UNIX_MODE

if TYPE_CHECKING:
    from blazeio_supervisor.ipc.control_api import SettingAnswer

SECTIONS: tuple[type[Section], ...] = (
    Process,
    Gateways,
    AddedToApp,
    Addresses,
    Tls,
    Proxies,
    Heads,
    Protocols,
    Logs,
    AccessLogging,
    Metrics,
    Times,
    Renewal,
    WorkerLimits,
    Privileges,
    Development,
)
"""All sections, in the order of ``--help``."""


@dataclass(frozen=True, kw_only=True)
class Settings(
    Process,
    Gateways,
    AddedToApp,
    Addresses,
    Tls,
    Proxies,
    Heads,
    Protocols,
    Logs,
    AccessLogging,
    Metrics,
    Times,
    Renewal,
    WorkerLimits,
    Privileges,
    Development,
):
    """The settings of one service. Spans are seconds, sizes octets."""

    def check(self) -> None:
        """Check what only shows in several settings together, or on this machine.

        Raises:
            SettingError: A setting cannot have its value; it names the field.
        """
        for section in SECTIONS:
            section.check(self)
        if self.python and self.is_privileged:
            reason = "root would start it, who runs nothing that --user may write"
            raise SettingError("python", reason)

    @cached_property
    def overrides(self) -> Overrides:
        """What takes the place of the App's own settings."""
        return Overrides(
            tls=self.tls,
            limits=self.bounds,
            forwarded_allow_ips=self.forwarded_allow_ips,
            proxy_protocol_allow_ips=self.proxy_protocol_allow_ips,
            root_path=self.root_path,
            headers=self.headers,
            has_server_header=self.server_header,
            has_date_header=self.date_header,
            http2=self.http2,
            access_log=self.access_log,
            access_log_format=self.access_log_format,
        )

    @property
    def given_fds(self) -> list[tuple[int, str]]:
        """The listening sockets that were open at the start, each with its name."""
        names = dict.fromkeys(self.fds, "")
        # A descriptor that is named twice, by ``--fd`` and by systemd, is taken once,
        # with the name that systemd gives it.
        names |= {given.fd: given.name for given in self.manager.given}
        return list(names.items())

    @property
    def unix_mode(self) -> int:
        """The mode of unix sockets."""
        if self.uds_mode is not None:
            return self.uds_mode
        # As the kernel would at a bind(2), by the umask of the app and not by the
        # master's.
        return UNIX_MODE & ~(self.umask or 0)

    @property
    def unix_owner(self) -> tuple[int, int] | None:
        """User and group of unix sockets; None: those of the master."""
        if self.uds_owner is not None or self.identity is None:
            return self.uds_owner
        return self.identity.uid, self.identity.gid

    @property
    def drain_s(self) -> float:
        """How long a draining worker keeps an idle connection."""
        return self._hasten(self.drain_idle_s)

    @property
    def farewell_s(self) -> float:
        """Over which span a draining worker closes its streams."""
        return self._hasten(self.farewell_window_s)

    def _hasten(self, span_s: float) -> float:
        return min(span_s, HASTE_S) if self.reload else span_s

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the app's processes, beside the master's own environment."""
        if not self.reload:
            return self.variables
        # Python knows a compiled file by the second and the size of its source: of two
        # changes within one second the first would be loaded twice.
        return {"PYTHONDONTWRITEBYTECODE": "1", **self.variables}

    @property
    def is_privileged(self) -> bool:
        """Whether the app's processes begin with more privileges than the app has."""
        return self.identity is not None and self.identity.uid != os.geteuid()

    @property
    def watched_folders(self) -> list[str]:
        """The folders that ``--reload`` watches."""
        own = os.path.dirname(self.app.script) if self.app.script else self.app_dir
        return [os.path.join(self.folder, each) for each in self.reload_dirs or (own,)]

    def make_watch(self) -> FileWatch:
        """Return what ``--reload`` watches."""
        return FileWatch(
            tuple(self.watched_folders),
            self.reload_includes,
            self.reload_excludes,
            self.reload_delay_s,
            self.reload_poll,
        )

    def make_policy(self) -> Policy:
        """Return the settings of the planner."""
        jitter = choose_jitter(self.max_requests_jitter, self.max_requests)
        workers = self.worker_range
        return Policy(
            boot_timeout_s=self.boot_timeout_s,
            grace_s=self.graceful_timeout_s,
            drain_delay_s=self.drain_delay_s,
            steering=self.steering,
            timeout_s=self.timeout_s,
            canary_hold_s=self._hasten(self.canary_hold_s),
            hold_s=self._hasten(self.canary_hold_s),
            is_development=self.reload,
            is_oom_fatal=self.exit_on_oom,
            rollout_timeout_s=self.rollout_timeout_s,
            has_health_check=bool(self.health_path),
            health_timeout_s=self.health_timeout_s,
            rollback_5xx=self.rollback_5xx,
            rollback_latency=self.rollback_latency,
            rollback_min_requests=self.rollback_min_requests,
            max_requests=self.max_requests,
            max_requests_jitter=round(jitter),
            max_lifetime_s=self.max_lifetime_s,
            max_lifetime_jitter_s=choose_jitter(
                self.max_lifetime_jitter_s, self.max_lifetime_s
            ),
            max_memory_bytes=self.max_memory_bytes,
            least_workers=1 if workers is None else workers.least,
            most_workers=None if workers is None else workers.most,
            worker_limit=WORKER_LIMIT,
            ready=self.ready,
            watchdog_s=self.manager.watchdog_s,
            # The kernel balances TCP sockets only; with unix sockets alone there is one
            # queue, and nothing to adopt or to steer. Without any address the app will
            # say its own.
            is_shared_listener=bool(self.binds)
            and all(isinstance(bind, UnixAddress) for bind in self.binds),
        )

    def make_rng(self) -> random.Random:
        """Return what the planner draws its jitter from: different on each machine."""
        # Seeded by the kernel: machines that were started from one image draw other
        # numbers.
        return random.Random()


def list_all_options() -> Iterator[Option]:
    """Iterate over every option, in the order of ``--help``."""
    for section in SECTIONS:
        yield from list_options(section)


# All sources together.


OPTIONS = tuple(list_all_options())


@dataclass(frozen=True, slots=True)
class Configuration:
    """The value of every setting, each with its origin.

    Attributes:
        given: By the field of ``Settings``; one that has no default may be missing.
        path: The path of the file that was read; "": none was.
        surroundings: Where the service was started.
    """

    given: Mapping[str, Given]
    path: str
    surroundings: StartEnvironment

    def make_settings(self) -> Settings:
        """Make the settings, and check what only shows in several of them together.

        Raises:
            UsageError: APP is missing, or a setting cannot have its value.
        """
        if "app" not in self.given:
            raise UsageError(
                f"APP is missing: write `{PROGRAM} module:attribute`, or app in a file"
                " (--help has examples)"
            )
        values = {field: each.value for field, each in self.given.items()}
        started, chdir = self.surroundings.folder, values["chdir"]
        settings = Settings(
            folder=os.path.join(started, chdir) if chdir else started,
            runtime_directory=self.surroundings.runtime_directory,
            manager=self.surroundings.manager,
            standard_error=self.surroundings.standard_error,
            **values,
        )
        try:
            settings.check()
        except SettingError as mistake:
            label = self.given[mistake.field].label
            raise UsageError(f"{label}: {mistake.reason}") from None
        return settings


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the settings of one service; they may be read again.

    Attributes:
        words: What click found on the command line.
        environ: The environment, as it was at the start.
        surroundings: Where the service was started.
    """

    words: Mapping[str, Any]
    environ: Mapping[str, str]
    surroundings: StartEnvironment

    def read(self) -> Configuration:
        """Read all sources; the file as it is now.

        Raises:
            UsageError: A value cannot be read; the line names where it was given.
        """
        path = self._find_file()
        ranked = (
            read_command_line(OPTIONS, self.words),
            read_environment(OPTIONS, self.environ),
            read_config_file(OPTIONS, path),
        )
        return Configuration(choose(OPTIONS, ranked), path, self.surroundings)

    def _find_file(self) -> str:
        typed = self.words.get("config")
        if self.words.get("no_config"):
            if typed:
                raise UsageError(f"--config and {NO_FILE}: one of them")
            return ""
        named = typed or self.environ.get(CONFIG_VARIABLE, "")
        return find_config_file(self.surroundings.folder, named)


# The settings of a running service, and what a reload makes of them.
#
# A reload reads them anew, and takes them when its code is taken. What needs a restart
# keeps its value, and is named.


class LiveSettings(Struct):
    """Settings that change as a whole, or not at all.

    Attributes:
        sources: Where they come from.
        configuration: Each with its origin.
        settings: The same, checked.
        needs_restart: The keys that have another value in the file than here.
    """

    sources: Sources
    configuration: Configuration
    settings: Settings
    needs_restart: tuple[str, ...] = ()

    @classmethod
    def read(cls, sources: Sources) -> Self:
        """Read them for the first time.

        Raises:
            UsageError: They cannot be.
        """
        found = sources.read()
        return cls(sources, found, found.make_settings())

    def __post_init__(self) -> None:
        """Take each value from the settings: of those that were decoded only these
        have types. An option that another image did not know has its default.
        """
        given = {
            field: replace(each, value=getattr(self.settings, field))
            for field, each in self.configuration.given.items()
            if hasattr(self.settings, field)
        }
        complete = choose(OPTIONS, [given])
        self.configuration = replace(self.configuration, given=complete)

    def read_again(self) -> "LiveSettings":
        """Return what they are for the next generation, with what is kept.

        Raises:
            UsageError: They cannot be; what is in force goes on.
        """
        found = self.sources.read()
        # What needs a restart must be right as well: a mistake in it would else be
        # found only at the restart, when nobody expects one.
        found.make_settings()
        self.needs_restart = self._find_stuck(found)
        if self.needs_restart:
            names = ", ".join(self.needs_restart)
            text = f"{names}: changed, but in force from the next start only"
            note("needs_restart", text, "WARNING")
        kept = replace(found, given=self._keep_stuck(found.given))
        return LiveSettings(self.sources, kept, kept.make_settings())

    def take(self, other: "LiveSettings") -> None:
        """Put what was read again into force."""
        self.configuration, self.settings = other.configuration, other.settings

    def _find_stuck(self, found: Configuration) -> tuple[str, ...]:
        return tuple(
            option.key
            for option in OPTIONS
            if option.change is Change.RESTART
            and _differs(
                found.given[option.field], self.configuration.given[option.field]
            )
        )

    def _keep_stuck(self, given: Mapping[str, Given]) -> dict[str, Given]:
        stuck = [option for option in OPTIONS if option.change is Change.RESTART]
        own = self.configuration.given
        return {**given, **{option.field: own[option.field] for option in stuck}}


def _differs(one: Given, other: Given) -> bool:
    """Whether another thing is said; a relative path may be read otherwise by now."""
    # Both must differ: ``auto`` is counted anew at each reading, and what is written is
    # the same; a relative path is the same text, and another place.
    return one.value != other.value and one.written != other.written


# The settings as a TOML file: those in force, and a sample of all. Pure.
#
# ``--print-config`` and the verb ``config`` write what is in force, each with where
# it came from; ``config --sample`` a ``blazeio.toml`` with every setting as a
# comment.


_COLUMN = 40
_SHOWN_BY = "--show-env shows the values"


def list_settings(
    configuration: Configuration, *, shows_env: bool = True
) -> "list[SettingAnswer]":
    """Return every setting, in the order of ``--help``.

    Args:
        configuration: The settings, with their origins.
        shows_env: Whether the values of variables are shown, or only their names.
    """
    settings = [_describe(o, configuration.given.get(o.field)) for o in OPTIONS]
    if shows_env:
        return settings
    secret = {option.key for option in OPTIONS if option.is_secret}
    return [_hide(each) if each.key in secret else each for each in settings]


def _hide(setting: "SettingAnswer") -> "SettingAnswer":
    """Replace the values of ``NAME=VALUE`` texts by dots."""
    if not setting.value:
        return setting
    names = [f"{text.partition('=')[0]}=..." for text in setting.value]
    return msgspec.structs.replace(setting, value=names, is_hidden=True)


def _describe(option: Option, given: Given | None) -> "SettingAnswer":
    from blazeio_supervisor.ipc.control_api import SettingAnswer  # of verbs

    if given is None:
        return SettingAnswer(
            key=option.key, value=None, origin=DEFAULT, meaning="required"
        )
    if given.is_default and option.default_text:
        meaning = option.default_text
        return SettingAnswer(
            key=option.key, value=None, origin=DEFAULT, meaning=meaning
        )
    # ``auto`` is shown as it was typed, and not the number that it stands for on this
    # machine.
    is_word = given.written in list(option.kind.words)
    value = given.written if is_word else option.kind.write(given.value)
    return SettingAnswer(key=option.key, value=value, origin=given.origin)


def format_settings(settings: "Iterable[SettingAnswer]") -> str:
    """Write a TOML file that sets the same, with each origin as a comment."""
    titles = {option.key: option.section for option in OPTIONS}
    return "\n".join(_iterate_lines(settings, titles)) + "\n"


def _iterate_lines(
    settings: "Iterable[SettingAnswer]", titles: dict[str, str]
) -> Iterator[str]:
    last = ""
    for setting in settings:
        title = titles[setting.key].partition(" (")[0]
        if title != last:
            yield from [""] * bool(last)
            yield f"# {title}"
            last = title
        yield _format_line(setting)


def _format_line(setting: "SettingAnswer") -> str:
    if setting.value is None:
        meaning = escape_line(setting.meaning)
        return f"{f'# {setting.key} =':{_COLUMN}}  # default: {meaning}"
    line = f"{setting.key} = {write_toml(setting.value)}"
    origin = escape_line(setting.origin)
    if setting.is_hidden:  # a comment: as a setting it would set the dots
        return f"{f'# {line}':{_COLUMN}}  # {origin}; {_SHOWN_BY}"
    return f"{line:{_COLUMN}}  # {origin}"


def write_toml(value: Plain) -> str:
    """Write a value as TOML has it: strings and lists are those of JSON."""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    octets = msgspec.json.format(encode_json(value), indent=0)
    return octets.decode()


# ``config --sample``.


_WIDTH = 78
_SIZE = re.compile(r"\d+[KMG]?")
_HEAD = """\
# blazeio.toml: `blazeio-supervisor` without an argument reads it.
# Every setting is here, with its default. Take the `#` away before `name =` to set it.
# The command line and BLAZEIO_... in the environment win over this file.
"""
_EXAMPLES = {
    "app": '"app:web"',
    "bind": '["127.0.0.1:8000", "unix:/run/app.sock"]',
    "env": '{ NAME = "value" }',
}
"""What stands for settings whose defaults show nothing of how they are written."""


def write_sample() -> str:
    """Write the file; it is read as one that sets nothing but APP."""
    return "\n".join(_iterate_sample()) + "\n"


def _iterate_sample() -> Iterator[str]:
    yield _HEAD.rstrip("\n")
    for section in SECTIONS:
        yield from ["", "", f"# {section.title.partition(' (')[0]}"]
        for option in OPTIONS:
            if option.section == section.title:
                yield from _describe_option(option)


def _describe_option(option: Option) -> Iterator[str]:
    default = f"  Default: {option.shown_default}." if option.shown_default else ""
    yield ""
    for line in textwrap.wrap(f"{option.help}{default}", _WIDTH - 2):
        yield f"# {line}"
    mark = "" if option.is_argument else "# "
    yield f"{mark}{option.key} = {_write_value(option)}"


def _write_value(option: Option) -> str:
    """Write the default, or what stands for a value where that is not one value."""
    if option.key in _EXAMPLES:
        return _EXAMPLES[option.key]
    if isinstance(option.kind, Flag):
        return "true or false" if option.default is None else write_toml(option.default)
    shown = option.shown_default
    is_choice = isinstance(option.kind, Choice) and option.default is not None
    if is_choice or shown in (option.initial, *option.kind.words):
        return write_toml(shown)
    if isinstance(option.kind, Number) and _SIZE.fullmatch(shown):
        return shown if shown.isdecimal() else write_toml(shown)
    name = option.kind.metavar.strip("'")
    return f"[{write_toml(name)}]" if isinstance(option.kind, Many) else name
