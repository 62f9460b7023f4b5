"""The format of a line of the access log, compiled to one function.

A format is text with atoms in braces, or a list of atoms that become the members of a
JSON object. It is compiled once, when the log is made.

A client can send any octets, so its values are always escaped: no value can end a line,
or leave its quotes. Long values are cut. The time is UTC, so that no line is ambiguous
when clocks are put back.
"""

import ast
import json
import os
import string
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blazeio.errors import ConfigurationError, find_near
from blazeio.wire.grammar import TOKEN

if TYPE_CHECKING:
    from blazeio.protocol.request import BlazeioServerProtocol


# Values: escaped, cut, and the time


VALUE_CHARS: Final = 1000
"""Longer values are cut: with three such values a line is still within the 4,096 octets
that the kernel writes to a pipe as a whole (pipe(7))."""

_LONGEST_ESCAPE: Final = len("\\ud83d\\ude00")
_CACHED_CHARS, _CACHED_COUNT = 256, 1024
_MONTHS: Final = (
    "JanFebMarAprMayJunJulAugSepOctNovDec"  # strftime depends on the locale
)


def escape_text(value: str) -> str:
    r"""Escape a value for text: ``\n``, ``\xe9``, ``\u20ac``, ``\"``, ``\\``."""
    escaped = value.encode("unicode_escape").decode("ascii")
    return escaped.replace('"', '\\"') or "-"


def escape_json(value: str) -> str:
    """Escape a value for JSON, with its quotes."""
    return json.dumps(value).replace("\x7f", r"\u007f") if value else "null"


class Escaped(dict[str, str]):
    """A cache of escaped values.

    A cached value takes 30 ns; escaping one takes 0.5 us. When there are too many, all
    are dropped, and come back one by one.
    """

    def __init__(self, escape: Callable[[str], str]) -> None:
        super().__init__()
        self._escape = escape

    def __missing__(self, value: str) -> str:
        """Escape a value that is not in the cache."""
        escaped = self._escape(_cut(value, VALUE_CHARS))
        if len(escaped) > VALUE_CHARS + len('"..."'):
            escaped = self._escape(_cut(value, VALUE_CHARS // _LONGEST_ESCAPE))
        if len(value) <= _CACHED_CHARS:
            if len(self) >= _CACHED_COUNT:
                self.clear()
            self[value] = escaped
        return escaped


def _cut(value: str, chars: int) -> str:
    return value if len(value) <= chars else f"{value[:chars]}..."


# Clocks


def make_clf_clock() -> Callable[[float], str]:
    """Make a clock that returns ``22/Nov/2025:19:54:00 +0000``."""
    second, text = -1, ""

    def clf_time(now: float) -> str:
        nonlocal second, text
        at = int(now)
        if at != second:
            utc = time.gmtime(at)
            month = _MONTHS[3 * utc.tm_mon - 3 : 3 * utc.tm_mon]
            text = time.strftime(f"%d/{month}/%Y:%H:%M:%S +0000", utc)
            second = at
        return text

    return clf_time


def make_iso_clock() -> Callable[[float], str]:
    """Make a clock that returns ``2025-11-22T19:54:00.123Z``."""
    second, text = -1, ""

    def iso_time(now: float) -> str:
        nonlocal second, text
        at_ms = int(now * 1000)
        if at_ms // 1000 != second:
            second = at_ms // 1000
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{text}.{at_ms % 1000:03}Z"

    return iso_time


FOREIGN, OWN, READY = "foreign", "own", "ready"

Compose = Callable[["BlazeioServerProtocol"], str]


class Format(NamedTuple):
    """A compiled format.

    Attributes:
        compose: Makes the line of one response, with its line end.
        read_clock: Sets the time of all lines from now on. Called once for the lines of
            one turn of the loop: once for each line would take 0.2 us.
    """

    compose: Compose
    read_clock: Callable[[], None]


class Atom(NamedTuple):
    """One value that a line can have.

    Attributes:
        expression: Its value, in terms of ``r`` and of the names in ``LOCALS``.
        kind: ``FOREIGN``: text that may come from outside, "" where there is none.
            ``OWN``: text of ours, never empty, nothing to escape in it. ``READY``: a
            number, ``nothing``, or what was escaped already.
        meaning: For the documentation.
    """

    expression: str
    kind: str
    meaning: str


LOCALS: Final = {
    "response": "r.response",
    "client": "r.carrier.origin.find_client(r.headers)",
    "field": "r.headers.index().get",
}
"""Computed once in a line, where its atoms use them."""

_SPAN = (
    "int((r.handler_task.ended_at - r.handler_task.begun_at) * 1e6) if r.method else 0"
)
_VERSION = 'versions[r.carrier.http_version if r.method else ""]'
_OUTCOME = (
    '"complete" if response.is_complete else "cut" if response.status else "none"'
)

ATOMS: Final[dict[str, Atom]] = {
    "time": Atom("clf_time", OWN, "when the response was over, as Apache writes it"),
    "time_iso": Atom("iso_time", OWN, "the same by RFC 3339, UTC, in milliseconds"),
    "worker": Atom(
        "worker",
        FOREIGN,
        "the worker's slot under `blazeio-supervisor`, else the process",
    ),
    "pid": Atom("pid", READY, "the process"),
    "client_host": Atom("client.host", FOREIGN, "the client's address"),
    "client_port": Atom("client.port or nothing", READY, "its port, where known"),
    "scheme": Atom("client.scheme", OWN, "`http` or `https`"),
    "authority": Atom("r.authority", FOREIGN, "`host[:port]` as the client named us"),
    "request_id": Atom("r.id", FOREIGN, "`r.id`: a trusted proxy's, or our own"),
    "route": Atom('r.route or ""', FOREIGN, "the path of the route, as declared"),
    "method": Atom("r.method", FOREIGN, "the method"),
    "target": Atom("r.tail", FOREIGN, "the request target, as sent"),
    "path": Atom("r.path", FOREIGN, "the path, percent-decoded"),
    "query": Atom("r.query", FOREIGN, "the query, as sent"),
    "version": Atom(_VERSION, READY, "`HTTP/1.1`, `HTTP/1.0` or `HTTP/2`"),
    "status": Atom("response.status or nothing", READY, "the status, if one was sent"),
    "content_bytes": Atom(
        "response.content_bytes", READY, "octets of content sent, without framing"
    ),
    "received_bytes": Atom(
        "r.current_length", READY, "octets of content received, without framing"
    ),
    "duration_us": Atom(_SPAN, READY, "microseconds from the whole head to the end"),
    "outcome": Atom(_OUTCOME, OWN, "`complete`, `cut`, or `none`: no response began"),
    "referer": Atom('field("referer", "")', FOREIGN, "the field Referer"),
    "user_agent": Atom('field("user-agent", "")', FOREIGN, "the field User-Agent"),
}


class Style(NamedTuple):
    """How values stand in a line.

    Attributes:
        escape: Escapes a FOREIGN value.
        quote: Stands around an OWN value.
        nothing: Stands for no value.
    """

    escape: Callable[[str], str]
    quote: str
    nothing: str


CLOCKS: Final = {"clf_time": make_clf_clock, "iso_time": make_iso_clock}

FIELD: Final = "field"
"""``{field:NAME}``: any field of the request."""

COMBINED: Final = (
    '{client_host} - - [{time}] "{method} {target} {version}" {status} '
    '{content_bytes} "{referer}" "{user_agent}" {duration_us}'
)
"""Apache's "combined", and how long it took (its ``%D``)."""

JSON: Final = (
    *("time_iso", "worker", "client_host", "client_port", "scheme", "method"),
    *("target", "version", "status", "content_bytes", "duration_us", "outcome"),
    *("referer", "user_agent"),
)


def compile_format(text: str, worker: str) -> Format:
    """Compile a format as an operator writes it.

    Args:
        text: ``combined``; ``json``; ``json:`` and atoms, separated by commas; or text
            with atoms in braces (``{{`` is a brace).
        worker: The name of this worker.

    Raises:
        ConfigurationError: There is no such format or atom.
    """
    if text == "json":
        return _compile_json(JSON, worker)
    if text.startswith("json:"):
        return _compile_json([each.strip() for each in text[5:].split(",")], worker)
    if text == "combined":
        text = COMBINED
    elif "{" not in text:
        message = (
            f"access log format {text!r}: expected combined, json, json:ATOM,ATOM "
            "or text with {atoms}"
        )
        raise ConfigurationError(message)
    return _compile_text(text, worker)


def _compile_text(text: str, worker: str) -> Format:
    style = Style(escape_text, "", "-")
    parts: list[ast.expr] = []
    for literal, name in _split(text):
        if not literal.isprintable():
            message = f"access log format {text!r}: control characters"
            raise ConfigurationError(message)
        parts.append(ast.Constant(literal))
        if name is not None:
            parts += _read_value(name, style, worker)
    return _compile([*parts, ast.Constant("\n")], style)


def _compile_json(names: Sequence[str], worker: str) -> Format:
    style = Style(escape_json, '"', "null")
    parts: list[ast.expr] = []
    for name in names:
        key = json.dumps(name.removeprefix(f"{FIELD}:").lower())
        parts.append(ast.Constant(f"{',' if parts else '{'}{key}:"))
        parts += _read_value(name, style, worker)
    return _compile([*parts, ast.Constant("}\n")], style)


def _split(text: str) -> Iterator[tuple[str, str | None]]:
    """Split a format into text and the name of the atom after it."""
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            if conversion:
                raise ValueError(f"!{conversion} has no meaning here")
            yield literal, f"{name}:{spec}" if spec else name
    except ValueError as error:
        raise ConfigurationError(f"access log format {text!r}: {error}") from None


def _read_value(name: str, style: Style, worker: str) -> list[ast.expr]:
    """Make the parts of one atom, as it stands in a line."""
    atom = _find_atom(name)
    source = atom.expression
    if source == "worker":
        return [ast.Constant(style.escape(worker))]
    if atom.kind == FOREIGN:
        source = f"escaped[{source}]"
    value = ast.FormattedValue(ast.parse(source, mode="eval").body, -1)
    if atom.kind == OWN:
        return [ast.Constant(style.quote), value, ast.Constant(style.quote)]
    return [value]


def _find_atom(name: str) -> Atom:
    prefix, _, field = name.partition(":")
    if prefix == FIELD and TOKEN.fullmatch(field):
        return Atom(f"field({field.lower()!r}, '')", FOREIGN, "")
    if name in ATOMS:
        return ATOMS[name]
    near = find_near(name, ATOMS)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(ATOMS)}"
    message = f"access log format: no atom {name!r}; {hint}; or {FIELD}:NAME"
    raise ConfigurationError(message)


def _compile(parts: list[ast.expr], style: Style) -> Format:
    """Compile parts to one function.

    As source code, since a list of getters takes 1.7 times as long, which is more than
    a line may cost. Only the expressions of ``ATOMS`` and checked field names get into
    it.
    """
    names: dict[str, Any] = {
        "escaped": Escaped(style.escape),
        "versions": Escaped(lambda text: style.escape(text and f"HTTP/{text}")),
        "nothing": style.nothing,
        "pid": os.getpid(),
    }
    line = ast.JoinedStr(_join_constants(parts))
    used = {each.id for each in ast.walk(line) if isinstance(each, ast.Name)}
    lines = [f"{name} = {source}" for name, source in LOCALS.items() if name in used]
    module = ast.parse("\n    ".join(["def compose(r):", *lines, "return line"]))
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef)  # the source has only this
    function.body[-1] = ast.Return(line)
    exec(compile(ast.fix_missing_locations(module), "<access log>", "exec"), names)
    clocks = [(name, make()) for name, make in CLOCKS.items() if name in used]

    def read_clock() -> None:
        for name, clock in clocks:
            names[name] = clock(time.time())

    return Format(names["compose"], read_clock)


def _join_constants(parts: list[ast.expr]) -> list[ast.expr]:
    """Join adjacent constants: each part of a line takes 8 ns."""
    joined: list[ast.expr] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(part.value))
        else:
            joined.append(part)
    return joined
