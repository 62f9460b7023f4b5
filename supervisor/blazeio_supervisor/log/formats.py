"""Events, and log records as text for people, or as JSON for programs.

A record may have an ``event``, a ``origin`` (whose output it is) or an exception;
what becomes of it is one string, for one write.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

# The name of each event, and what has happened then.
#
# A name means the same for ever: alerts and scripts are written on it. The table in
# ``docs/reference/events.md`` is ``EVENTS``.


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that has happened; what does not apply is left out.

    Attributes:
        seq: Counts up from 1. Numbers that are missing were forgotten: only the
            last 10,000 are kept, fewer of long ones.
        at_s: Since 1970, UTC.
        event: A word of ``docs/reference/events.md``.
        level: DEBUG, INFO, WARNING or ERROR.
        text: For a person.
        worker: Serial number of a worker's life.
        pid: Of the process that it is about.
        reason: Why, as one of few words.
        traceback: Of what was raised.
        fields: Further figures.
    """

    seq: int = 0
    at_s: float
    event: str
    level: str
    text: str
    worker: int | None = None
    slot: int | None = None
    generation: int | None = None
    pid: int | None = None
    reason: str = ""
    traceback: str = ""
    fields: dict[str, Any] = {}


WORKER_EVENTS = {
    "requests_cut": "the grace period of a worker was over: requests were cut",
    "thread_stuck": "threads of a WSGI app do not come back; with their stacks",
    "threads_cut": "the grace period of a worker was over: its threads were cut",
    "stop_hook_failed": "an on_stop hook raised, or took too long",
}
"""Those that a worker sends, by a ``WorkerEvent``; it is believed no others."""

EVENTS = {
    # the service
    "listening": "all addresses are open, and it is known what is spoken there",
    "bound": "all addresses are open; the app, which is still to come, says the rest",
    "cannot_bind": "an address cannot be had: the service ends",
    "pid_file_taken": "the pid file is another service's, or no file: the service ends",
    "address_kept": "the app asks for another address than the one it is served at",
    "control": "the control socket is open, at its start or anew",
    "no_control": "no control socket could be made: no verb reaches this service",
    "stranger_refused": "another user asked the control socket; once a minute at most",
    "metrics": "the address of the metrics is open, at its start or anew",
    "ready": "the first worker serves",
    "boot_failed": "the first boot failed: the service ends",
    "boot_waits": "the first boot failed with --reload: a change tries it again",
    "not_stored": "systemd keeps fewer listeners for us than there are",
    "queues_shared": "no queue of its own could be opened for some slots",
    "leaving": "told to stop: no longer ready, but serving for --drain-delay",
    "stopping": "told to stop: draining, or quickly",
    "killing": "told to stop at once: remaining workers are killed",
    "stop_forced": "the service has not ended in its time: all of it is killed",
    "stopped": "everything of the service has ended",
    "not_held_off": "the kernel does not let us hold off clients at the end",
    "logs_reopened": "every log file is reopened, after it was renamed",
    "scaled": "another number of workers is wanted",
    "scale_limited": "more or fewer workers were asked for than there may be",
    # new code
    "watching": "files are watched, and reloaded when they change (--reload)",
    "reloading": "a generation is being loaded",
    "loaded": "the app of a generation is imported, or each worker will do it",
    "warm_failed": "what was to be made once, before the workers are forked, failed",
    "fork_unsafe": "what the import has begun cannot be forked: workers import alone",
    "app_raised": "what the app raised while it was imported or started",
    "reloaded": "a generation serves in every slot",
    "rolling_back": "a generation failed after it was spread: going back",
    "rolled_back": "a generation that had served in every slot was taken back, and why",
    "reload_failed": "a reload failed, with the reason: the old code keeps serving",
    "reload_ok": "a requested reload was carried out",
    "reload_superseded": "a requested reload was superseded by a later one",
    "forkserver_exited": "the process that forks the workers has ended",
    "needs_restart": "a setting was changed that holds from the next start only",
    # workers
    "worker_forked": "a worker lives, and boots",
    "boot_slow": "a process has booted for a third of --boot-timeout, or for all of it",
    "worker_ready": "a worker serves",
    "worker_failed": "a worker died, or was late and is ended; says what is next",
    "worker_exited": "a worker is gone",
    "worker_killed": "a worker that had not ended in time was killed; with its stacks",
    "crash_loop": "the workers of a slot keep failing; it keeps trying",
    "recovered": "a worker serves steadily in a slot that was in a crash loop",
    "making_room": "there is no memory for two: a worker ends before the next starts",
    "recycling": "a worker that serves well will be replaced",
    "recycling_loop": "each new worker is over a limit at once: the limit is too low",
    "recycle_refused": "a slot was to be recycled that has no worker",
    "blocked": "the loop of a worker stands still; with its stacks",
    "unblocked": "the loop of a blocked worker runs again",
    "listener_dead": "a listener was shut down, or its file removed: it is recreated",
    "worker_deaf": "a worker has accepted nothing, though connections wait",
    "machine_late": "most workers are late at once: the machine is overloaded",
    "adopted": "a worker takes the queue of a slot that does not serve",
    "released": "a slot has its queue for itself again",
    "steered": "new connections are shared out by other weights",
    "not_steered": "the kernel refuses to share out connections by weights",
    "tasks_leased": "a worker runs the tasks that run once from now on",
    "task_failed": "a run of a task that runs once has raised, or was cut",
    "memory_unknown": "the memory of workers cannot be measured",
    **WORKER_EVENTS,
    "parking": "the service will be parked when what is under way has ended",
    "parked": "no worker serves; connections wait in the queues",
    "resumed": "a parked service serves again",
    # the supervisor itself
    "upgraded": "the installed code of the supervisor has taken over, same pid",
    "upgrade_checked": "an upgrade was rehearsed, and not done",
    "upgrade_failed": "an upgrade failed: the running code stays",
    "no_upgrade": "the running program cannot be kept, so there is no way back",
    "unknown_variable": "a variable of the environment looks like a misspelt setting",
    "variable_too_late": "what is set for the app counts only as a process starts",
    "open_to_others": "another user may write what root runs, with --user",
    "reaped_stranger": "a process that was re-parented to the master has ended",
    "listener_changed": "the app has made a listener block, which is set back",
    "misbehaved": "a worker, or what forks them, did what none does, and is ended",
    "turn_failed": "a fault of the supervisor: a turn of its loop could not see all",
    "planner_failed": "a fault of the supervisor: a decision failed",
    "action_failed": "a fault of the supervisor: what was decided could not be done",
}


# How the log is written, the same in all our processes.


STDERR = 2


class LogConfig(msgspec.Struct, frozen=True):
    """How a process logs.

    Attributes:
        level: The least that is printed.
        is_json: Each line is an object; else text.
        has_color: It goes to a terminal, and is coloured.
        is_journal: systemd's journal reads it: it wants priorities, and has the
            time by itself.
        config: A dictionary for ``logging.config.dictConfig``, which then decides all;
            None: there is none.
    """

    level: str = "INFO"
    is_json: bool = False
    has_color: bool = False
    is_journal: bool = False
    config: dict[str, Any] | None = None


class StandardError(Struct, frozen=True):
    """What standard error is.

    Attributes:
        has_color: It is a terminal, and NO_COLOR is not set.
        is_journal: The journal, as $JOURNAL_STREAM says by device and inode.
    """

    has_color: bool = False
    is_journal: bool = False


def look_at_standard_error(environ: Mapping[str, str]) -> StandardError:
    """Find out what reads standard error."""
    try:
        found = os.fstat(STDERR)
    except OSError:
        return StandardError()  # it is closed
    stream = f"{found.st_dev}:{found.st_ino}"
    is_plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return StandardError(
        has_color=os.isatty(STDERR) and not is_plain,
        is_journal=environ.get("JOURNAL_STREAM") == stream,
    )


# What others said, written so that it can only be read: one function a kind of sink.
#
# A worker's words, an exception's text, a path or the name of a process may hold
# what a terminal obeys (ESC, C1), what ends a line and begins another that looks
# like ours (LF, U+2028), and what shows text in another order than it has (bidi
# controls). Each becomes its escape, ``\x1b``, ``\u202e``, where the text is
# written: into an event, a line of the log, a terminal, JSON, a label. An escape
# is plain text, so that to escape twice changes nothing.
#
# ``blazeio.loggers`` has the same table, for who uses blazeio alone. Pure.


_INVISIBLE = (
    "\x7f-\x9f"  # DEL and C1: 0x9b alone begins a control sequence
    "\xad\u061c\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f"  # ends of lines, bidi controls
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_SURROGATES = "\ud800-\udfff"
_NOT_ON_A_LINE = re.compile(f"[\x00-\x1f{_INVISIBLE}{_SURROGATES}]")
_NOT_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_INVISIBLE}{_SURROGATES}]")
_NOT_IN_JSON = re.compile(f"[{_INVISIBLE}]")
_SURROGATE = re.compile(f"[{_SURROGATES}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

CONTINUATION = "  | "
"""Before each further line of a record: no line end of a text begins a record."""

_OF_SEVERAL_LINES = frozenset({"traceback", "output"})
"""Fields of answers that hold the lines of a traceback; ``text`` does where the
answer's class says so by ``lines``."""

ValueT = TypeVar("ValueT")


def escape_line(text: str) -> str:
    """Return a text with its line ends and control characters escaped."""
    return _NOT_ON_A_LINE.sub(_escape, text)


def escape_lines(text: str) -> str:
    """Return a text with control characters but line ends and tabs escaped."""
    return _NOT_IN_LINES.sub(_escape, text)


def continue_lines(text: str) -> str:
    """Return the further lines of a record, each marked as such."""
    lines = escape_lines(text.rstrip("\n")).split("\n")
    return "\n".join(f"{CONTINUATION}{line}" for line in lines)


def encode_json(value: Any) -> bytes:
    """Encode a value as JSON; strings that are no Unicode are kept.

    But for lone surrogates, which are no text and come as their escapes.
    """
    try:
        octets = msgspec.json.encode(value)
    except UnicodeEncodeError:
        told = msgspec.to_builtins(value)
        octets = msgspec.json.encode(escape_surrogates(told))
    if octets.isascii() and b"\x7f" not in octets:
        return octets
    return escape_json(octets.decode()).encode()


def escape_json(text: str) -> str:
    """Return JSON, or another notation with such escapes, safe for a terminal.

    Outside of strings JSON has none of these characters.
    """
    return _NOT_IN_JSON.sub(_escape_for_json, text)


def escape_answer(answer: ValueT) -> ValueT:
    """Return a value with each text on one line.

    The fields that hold several lines keep them.
    """
    return map_texts(answer, escape_line)  # type: ignore[no-any-return]


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or _write(ord(match[0]))


def _write(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_for_json(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def escape_surrogates(value: ValueT) -> ValueT:
    """Return a value whose texts are Unicode: lone surrogates are escaped."""
    return map_texts(value, _escape_each)  # type: ignore[no-any-return]


def _escape_each(text: str) -> str:
    return _SURROGATE.sub(_escape, text)


def map_texts(value: Any, escape: Callable[[str], str]) -> Any:
    """Return a value with each text in it, keys too, changed by a function."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {
            map_texts(key, escape): map_texts(each, escape)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)([map_texts(each, escape) for each in value])
    if isinstance(value, msgspec.Struct):
        return _map_fields(value, escape)
    return value


def _map_fields(struct: msgspec.Struct, escape: Callable[[str], str]) -> msgspec.Struct:
    several = _OF_SEVERAL_LINES | getattr(type(struct), "lines", frozenset())
    changes = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        by = escape_lines if name in several and escape is escape_line else escape
        changes[name] = map_texts(value, by)
    return msgspec.structs.replace(struct, **changes)


_COLORS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31"}
_BOLD = "1"
_OURS = "blazeio"


class Identified(Protocol):
    """What an event is about, or whose line it is."""

    @property
    def worker(self) -> int | None: ...  # noqa: D102
    @property
    def slot(self) -> int | None: ...  # noqa: D102
    @property
    def generation(self) -> int | None: ...  # noqa: D102
    @property
    def pid(self) -> int | None: ...  # noqa: D102


class LogOrigin(Struct):
    """The process whose line it is.

    Attributes:
        worker: Serial number of its life; None: it is no worker.
        pid: None as long as it is not known.
    """

    worker: int | None = None
    slot: int | None = None
    generation: int | None = None
    pid: int | None = None


def format_identity(who: Identified) -> str:
    """Return which process it is about: ``worker=3 slot=0 gen=1 pid=4711``."""
    parts = (
        ("worker", who.worker),
        ("slot", who.slot),
        ("gen", who.generation),
        ("pid", who.pid),
    )
    return " ".join(f"{name}={value}" for name, value in parts if value is not None)


def make_formatter(
    terms: LogConfig, origin: LogOrigin | None = None
) -> logging.Formatter:
    """Return the formatter that was asked for.

    Args:
        terms: How the log is written.
        origin: The process, for each of its lines; None: it is the master.
    """
    if terms.is_json:
        return JsonFormatter(origin)
    return TextFormatter(terms, origin)


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123+0100 INFO    event=ready slot=0: it serves``.

    Without the time for the journal, which has it. A traceback follows its line.

    Args:
        terms: Colours, and whether the time is wanted.
        origin: See ``make_formatter``.
    """

    def __init__(self, terms: LogConfig, origin: LogOrigin | None = None) -> None:
        super().__init__()
        self._has_time = not terms.is_journal
        self._has_color = terms.has_color
        self._origin = origin

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; of several lines if it has a traceback, or was captured."""
        head = self._paint(f"{record.levelname:7}", _COLORS.get(record.levelname))
        if self._has_time:
            head = f"{_write_local_time(record.created)} {head}"
        origin = getattr(record, "origin", None)
        if isinstance(origin, LogOrigin):
            identity = format_identity(origin)
            lines = _split_printed(record.getMessage())
            return "\n".join(
                f"{head} {identity} | {escape_lines(line)}" for line in lines
            )
        event = getattr(record, "event", None)
        if isinstance(event, EventRecord):
            name = self._paint(f"event={escape_line(event.event)}", _BOLD)
            return f"{head} {name} {_format_rest(event)}"
        text, _, rest = record.getMessage().partition("\n")
        if record.exc_info:
            rest = f"{rest}\n{self.formatException(record.exc_info)}".lstrip("\n")
        who = [] if self._origin is None else [format_identity(self._origin)]
        if not record.name.startswith(_OURS) or text.startswith("event="):
            who.append(escape_line(record.name))  # asyncio's, or what Python says
        line = f"{head} {': '.join([*who, escape_line(text)])}"
        return f"{line}\n{continue_lines(rest)}" if rest else line

    def _paint(self, text: str, color: str | None) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._has_color and color else text


class JsonFormatter(logging.Formatter):
    """Writes one JSON object on each line; what does not apply is left out.

    Args:
        origin: See ``make_formatter``.
    """

    def __init__(self, origin: LogOrigin | None = None) -> None:
        super().__init__()
        self._origin = origin

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what was captured as an object for each line."""
        origin = getattr(record, "origin", None)
        if isinstance(origin, LogOrigin):
            lines = _split_printed(record.getMessage())
            return "\n".join(self._write(record, line, origin) for line in lines)
        event = getattr(record, "event", None)
        if isinstance(event, EventRecord):
            return self._write(record, event.text, event, _list_rest(event))
        rest = {}
        if record.exc_info:
            rest["traceback"] = self.formatException(record.exc_info)
        return self._write(record, record.getMessage(), self._origin, rest)

    def _write(
        self,
        record: logging.LogRecord,
        text: str,
        who: Identified | None,
        rest: dict[str, Any] | None = None,
    ) -> str:
        moment = time.gmtime(record.created)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", moment)
        line: dict[str, Any] = {
            "time": f"{at}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "text": text,
        }
        if who is not None:
            names = ("worker", "slot", "generation", "pid")
            values = ((name, getattr(who, name)) for name in names)
            line |= {name: value for name, value in values if value is not None}
        return encode_json(line | (rest or {})).decode()


def _list_rest(event: EventRecord) -> dict[str, Any]:
    """What is not in every line: the name first, the further figures last."""
    rest = {"event": event.event, "reason": event.reason, "traceback": event.traceback}
    return {name: value for name, value in rest.items() if value} | event.fields


def format_event(event: EventRecord) -> str:
    """Return an event as it stands in the log: ``event=ready slot=0: serving``."""
    return f"event={escape_line(event.event)} {_format_rest(event)}"


def _format_rest(event: EventRecord) -> str:
    identity = format_identity(event)
    line = f"{f'{identity}: ' if identity else ''}{escape_line(event.text)}"
    if not event.traceback:
        return line
    return f"{line}\n{continue_lines(event.traceback)}"


def _split_printed(text: str) -> list[str]:
    """Return what was printed line by line; a terminal's line end is one, too."""
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]


def _write_local_time(at_s: float) -> str:
    """Return a time as in ISO 8601, with milliseconds and offset."""
    moment = time.localtime(at_s)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", moment)
    return f"{text}.{int(at_s % 1 * 1000):03d}{time.strftime('%z', moment)}"


# What a worker has said of itself, as text, as far as it is worth reading. Pure.


MOST_CHARS = 16 * 1024
"""The longest stacks of one report, in the log and among the events; the rest is
cut."""

# From the frame that runs the loop, down to the interpreter's own.
_OWN_FRAMES = re.compile(
    r'(?m)^  File ".*/blazeio_supervisor/worker/worker\.py", line \d+ in _serve$'
    r"\n(?:^  File .*\n?)*"
)
_FRAME = re.compile(
    r'(?m)^  File "(?P<file>[^"\n]*)", line (?P<line>\d+) in (?P<function>\S+)$'
)
_SUBJECT = re.compile(r"(?m)^worker=.*? pid=\d+: (.*)$")


def fold_own_frames(text: str) -> str:
    """Leave out the frames of the worker's own start, the same in every stack."""
    return _OWN_FRAMES.sub("  (from here on the worker's own start)\n", text)


def find_import(text: str) -> str:
    """Find the line in which a process imports or starts an app; "" when unknown.

    The newest call comes first. The one nearest to it that runs at the top of a
    module is in the module that is being imported.
    """
    _, _, current = text.partition("Current thread")
    frames = list(_FRAME.finditer(current or text))
    frames = [each for each in frames if not each["file"].startswith("<frozen ")]
    if not frames:
        return ""
    where = (
        f"it is in {frames[0]['function']} ({frames[0]['file']}:{frames[0]['line']})"
    )
    for each in frames:
        if each["function"] == "<module>":
            return f"{where}, importing {each['file']} (line {each['line']})"
    return where


def trim_stacks(text: str) -> str:
    """Return the stacks of a worker as a report has them: short, and not too long."""
    return fold_own_frames(text.strip())[:MOST_CHARS]


def find_subject(text: str) -> str:
    """Find the line that its loop is in; "" where there is none."""
    found = _SUBJECT.search(text)
    return found[1] if found else ""
