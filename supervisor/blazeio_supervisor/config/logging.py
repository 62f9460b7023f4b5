"""The log of the supervisor, the access log of the workers, and the metrics."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from blazeio.errors import ConfigurationError
from blazeio_supervisor.config.environment import StartEnvironment
from blazeio_supervisor.config.option import Change, Section, SettingError, option
from blazeio_supervisor.config.types import Choice, Flag, Parsed, Text
from blazeio_supervisor.files import read
from blazeio_supervisor.log.formats import LogConfig
from blazeio_supervisor.log.setup import LEVELS
from blazeio_supervisor.sockets.address import Address, format_address, parse_address

# ``--log-config FILE``: all of logging, as ``logging.config.dictConfig`` reads it.
#
# It is for other formats, handlers or destinations than ours: the file then configures
# all of logging, in the master and in the app's processes, before the app is imported.
# The events of a service are kept and counted whatever the file says.


class LogConfigError(ValueError):
    """The file cannot be read, or holds no such settings; the message is one line."""


def read_log_config(path: str) -> dict[str, Any]:
    """Read a file of logging settings.

    Args:
        path: The path, which ends in ``.toml``, ``.json``, ``.yaml`` or ``.yml``.

    Returns:
        What ``dictConfig`` takes; ``version`` is 1 and ``disable_existing_loggers``
        false unless the file says otherwise.

    Raises:
        LogConfigError: The file cannot be read.
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
    # ``dictConfig`` by itself would disable each logger that exists by then, and with
    # it our own lines.
    return {"version": 1, "disable_existing_loggers": False, **found}


def _parse_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError(
            "YAML needs PyYAML (pip install pyyaml); TOML and JSON need nothing"
        ) from None
    try:
        # Not ``load``: that makes any object that a file names.
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _parse_toml(text: str) -> Any:
    import tomllib  # most services have no such file

    return tomllib.loads(text)


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".toml": _parse_toml,
    ".json": json.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}


LogFormat = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Logs(Section):
    """The supervisor's own log; the app configures its ``logging`` itself."""

    title = "Log"

    log_level: str = option(
        Choice(LEVELS, "LEVEL"),
        "The lowest level of the supervisor's own log: debug, info, warning or error.",
        default="INFO",
    )
    log_format: LogFormat = option(
        Choice(get_args(LogFormat), "FORMAT"),
        # Not at a reload: one file would have lines of both kinds, since workers of the
        # old code write on for a while.
        "text: readable lines, in colour on a terminal; json: one JSON object per "
        "line.",
        default="text",
        change=Change.RESTART,
    )
    use_colors: bool | None = option(
        Flag(),
        "Colour the lines of the log, also where it goes to no terminal.",
        default=None,
        default_text="on a terminal, unless NO_COLOR is set",
        change=Change.RESTART,
    )
    log_file: str | None = option(
        Text("PATH"),
        # By O_APPEND (open(2)) the kernel puts each line at the end, whoever writes it.
        # USR1 is nginx's signal for that, so that a logrotate file for nginx does for
        # us.
        "Append the log to this file. To rotate it, rename it, then send USR1 to the "
        "master, which reopens it.",
        default=None,
        default_text="standard error",
        change=Change.RESTART,
    )
    log_config: str | None = option(
        Text("FILE"),
        "Configure all of logging by this file, in the master and in the app's "
        "processes, as logging.config.dictConfig does: .toml, .json, or .yaml where "
        "PyYAML is installed. The other options of this section, except "
        "--capture-output, are then ignored. As root its handlers write no file in a "
        "folder that other users may write.",
        default=None,
        change=Change.RESTART,
    )
    capture_output: bool = option(
        Flag(),
        # Through a socket that the master reads all the time: one that is full blocks
        # whoever prints.
        "Write what the app's processes print to the log, line by line, with the "
        "worker's name; otherwise it goes where the supervisor's own output goes.",
        default=False,
        change=Change.RESTART,
    )

    @property
    def log_path(self) -> str | None:
        """The absolute path of the log file; None: the log goes to standard error."""
        return self.log_file and os.path.join(self.folder, self.log_file)

    @property
    def log_terms(self) -> LogConfig:
        """How all our processes write the log."""
        is_file = self.log_file is not None
        return LogConfig(
            level=self.log_level,
            is_json=self.log_format == "json",
            has_color=self.standard_error.has_color and not is_file
            if self.use_colors is None
            else self.use_colors,
            is_journal=self.standard_error.is_journal and not is_file,
            config=self._read_config(),
        )

    def _read_config(self) -> dict[str, Any] | None:
        if self.log_config is None:
            return None
        try:
            return read_log_config(os.path.join(self.folder, self.log_config))
        except LogConfigError as error:
            raise SettingError("log_config", str(error)) from None

    def check(self) -> None:
        """Check that the file can be written."""
        if self.log_file is not None:
            check_log_path(self, "log_file", self.log_file)
        self._read_config()


def check_log_path(around: StartEnvironment, field: str, given: str) -> None:
    """Check that a file could be appended to.

    Args:
        around: A relative path starts from its folder.
        field: The name of the setting in ``Settings``.
        given: The path.

    Raises:
        SettingError: The path is a folder, or its folder is not there.
    """
    path = os.path.join(around.folder, given)
    if not given or os.path.isdir(path):
        raise SettingError(field, "expected a file")
    if not os.path.isdir(os.path.dirname(path)):
        raise SettingError(field, f"there is no folder {os.path.dirname(path)}")


# The access log of all workers.


_STANDARD_OUTPUT = "-"


def read_format(text: str) -> str:
    """Read ``--access-log-format``.

    Raises:
        ValueError: The format cannot be read; the message says where.
    """
    from blazeio.server.log_format import compile_format  # not needed by --help

    try:
        compile_format(text, "")
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class AccessLogging(Section):
    """The access log: one file for all workers."""

    title = "Access log"

    access_log: str | None = option(
        Text("PATH"),
        # ``-`` as with gunicorn. /dev/stdout could not be opened where it is a socket,
        # as with the journal of systemd (ENXIO, open(2)).
        "Append a line for each response to this file; - is standard output. To "
        "rotate it, rename it, then send USR1 to the master: the workers reopen it.",
        default=None,
        default_text="the App's own, else none",
    )
    access_log_format: str | None = option(
        Parsed(read_format, "FORMAT"),
        "combined, json, json:ATOM,... or text with {atoms}; see "
        "docs/reference/access-log.md.",
        default=None,
        default_text="the App's own, else combined",
    )

    def check(self) -> None:
        """Check that the file can be written."""
        if self.access_log is None or self.access_log == _STANDARD_OUTPUT:
            return
        check_log_path(self, "access_log", self.access_log)


# The address for monitoring.


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Metrics(Section):
    """Metrics and probes, on an address of their own."""

    title = "Metrics"

    metrics_bind: Address | None = option(
        Parsed(parse_address, "ADDRESS", format_address),
        # By the master, and not by a path of the app: workers that are blocked or not
        # there yet must not keep a probe from its answer.
        "Answer /metrics (for Prometheus), /livez and /readyz at this address: "
        "host:port, :port or unix:/path. Unauthenticated; bind to a private address.",
        default=None,
        default_text="nowhere",
        change=Change.RESTART,
    )
    dashboard: bool = option(
        Flag(),
        "Show the service live on a page at --metrics-bind, /dashboard: workers, "
        "queues, latency, events. It has the texts of events and the targets of long "
        "requests, so keep the address private. The verb `dashboard` needs no address.",
        default=False,
        change=Change.RESTART,
    )
    dashboard_token_file: str | None = option(
        Text("PATH"),
        # A file, since each user sees the words of a command line
        # (proc_pid_cmdline(5)).
        "Who opens the page with the first line of this file after a # in its address "
        "may reload, replace workers and look at stacks there; else nobody may.",
        default=None,
        default_text="none: the page gives no orders",
        change=Change.RESTART,
    )
    bridge_prometheus: bool = option(
        Flag(),
        "Also export the metrics of prometheus_client in the app, summed over all "
        "workers: see docs/how-to/app-metrics.md. Its own files for several "
        "processes (PROMETHEUS_MULTIPROC_DIR) are not needed then.",
        default=False,
    )

    def check(self) -> None:
        """Check that the page has an address, and its token can be read."""
        if self.dashboard and self.metrics_bind is None:
            reason = "it needs an address: give --metrics-bind, or use the verb"
            raise SettingError("dashboard", f"{reason} `dashboard`, which needs none")
        self.read_token()

    def read_token(self) -> str:
        """Return what allows orders on the page; "" where nobody may give any.

        Raises:
            SettingError: The file cannot be read, or its first line is empty.
        """
        if self.dashboard_token_file is None:
            return ""
        path = os.path.join(self.folder, self.dashboard_token_file)
        try:
            token = read(path).decode().partition("\n")[0].strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise SettingError("dashboard_token_file", f"{path}: {reason}") from None
        # An empty token would be one that everybody knows.
        if not token:
            reason = f"{path}: its first line is empty"
            raise SettingError("dashboard_token_file", reason)
        return token
