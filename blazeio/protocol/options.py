"""Options: of a route, and of the fields of responses.

The options of a route are looked up only where they matter: for a request with content,
and when a client goes away. A plain request does not pay for them. The fields that each
response has are serialized once a second; those that are added to one, with its head.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

from blazeio.errors import ConfigurationError, FieldInput, LocalProtocolError
from blazeio.wire.headers import serialize_field, serialize_fields

SERVER_NAME = "blazeio"

_OURS = frozenset(
    """
    connection content-length content-type date keep-alive te trailer
    transfer-encoding upgrade
    """.split()  # noqa: SIM905 - a table reads better as text
)

OnDisconnect = Literal["cancel", "finish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """The options of one route.

    Attributes:
        content_bytes: Most content of a request, octets; more: 413. None: as
            ``Limits.content_bytes`` says.
        handler_timeout_s: How long its handler may take, seconds, ``inf`` for no
            bound; then as of ``Limits.handler_timeout_s``. None: as that says.
            Middlewares before the route are not counted.
        on_disconnect: ``cancel``: a client that goes away ends the handler;
            ``finish``: it runs on, bounded by its deadline and by the drain.

    Raises:
        ConfigurationError: One of them cannot be.
    """

    content_bytes: int | None = None
    handler_timeout_s: float | None = None
    on_disconnect: OnDisconnect = "cancel"

    def __post_init__(self) -> None:
        size = self.content_bytes
        if size is not None and (not isinstance(size, int) or size < 0):
            message = f"content_bytes={size!r}: expected a number of octets"
            raise ConfigurationError(message)
        span_s = self.handler_timeout_s
        if span_s is not None and not (isinstance(span_s, int | float) and span_s > 0):
            message = f"handler_timeout_s={span_s!r}: expected seconds, more than 0"
            raise ConfigurationError(message)
        if self.on_disconnect not in ("cancel", "finish"):
            message = (
                f"on_disconnect={self.on_disconnect!r}: expected 'cancel' or 'finish'"
            )
            raise ConfigurationError(message)


class RouteOptionValues(TypedDict, total=False):
    """The fields of ``RouteOptions`` by name, for type checkers and editors."""

    content_bytes: int | None
    handler_timeout_s: float | None
    on_disconnect: OnDisconnect


DEFAULT_OPTIONS = RouteOptions()

FindOptions = Callable[[str, str], RouteOptions]
"""From method and path to the options of their route; else DEFAULT_OPTIONS."""


def find_default_options(method: str, path: str) -> RouteOptions:
    """Return the options of a server that has no routes."""
    return DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderConfig:
    """The fields of each response beside its own.

    Attributes:
        has_date: Each has a Date, as RFC 9110 section 6.6.1 wants it of every
            server with a clock.
        has_server: Each has ``Server: blazeio``.
        fields: Names and values. A field that a handler gives replaces the one of
            its name.

    Raises:
        ConfigurationError: A field is malformed, or one that each response has
            of its own.
    """

    has_date: bool = True
    has_server: bool = True
    fields: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.fields:
            if name.lower() in _OURS:
                reason = "each response has its own, it cannot be set for all"
                raise ConfigurationError(f"field {name}: {reason}")
            try:
                serialize_field(name, value)
            except LocalProtocolError as error:
                raise ConfigurationError(str(error)) from None

    def under(self, other: "HeaderConfig") -> "HeaderConfig":
        """Return it with the fields of another, which replace those of their names."""
        names = {name.lower() for name, _ in other.fields}
        further = [each for each in self.fields if each[0].lower() not in names]
        return replace(self, fields=(*other.fields, *further))

    def write_lines(self, given: Container[str] = ()) -> bytes:
        """Serialize Server and the fields, but for those that the handler gives.

        Args:
            given: The names of the handler's fields, in lower case.
        """
        fields = self.fields
        if self.has_server and not any(n.lower() == "server" for n, _ in fields):
            fields = (("Server", SERVER_NAME), *fields)
        return b"".join(
            serialize_field(name, value)
            for name, value in fields
            if name.lower() not in given
        )


HeadHook = Callable[[int], FieldInput | None]
"""From the status of a response to further fields of it."""


class ExtraFields:
    """Fields that were added to a response before its head is composed.

    They hold for whatever the response is at last, also for an error.
    """

    __slots__ = ("_added", "_defaults", "_hooks")

    def __init__(self) -> None:
        self._added = b""
        self._defaults: dict[str, bytes] = {}
        self._hooks: list[HeadHook] = []

    def add(self, name: str, value: str) -> None:
        """Add a field beside others of its name.

        Raises:
            LocalProtocolError: It is malformed. The caller's fault.
        """
        self._added += serialize_field(name, value)

    def set_default(self, name: str, value: str) -> None:
        """Add a field for a response that has none of its name.

        Raises:
            LocalProtocolError: It is malformed. The caller's fault.
        """
        line = serialize_field(name, value)
        self._defaults[name.lower()] = line

    def add_hook(self, hook: HeadHook) -> None:
        """Add a function that returns further fields when the head is composed."""
        self._hooks.append(hook)

    def write(self, names: Container[str] = ()) -> bytes:
        """Serialize the fields that were added.

        Args:
            names: The names of the response's own fields, in lower case.
        """
        defaults = [line for name, line in self._defaults.items() if name not in names]
        return b"".join((*defaults, self._added))

    def ask_hooks(self, status: int) -> bytes:
        """Serialize the fields that the hooks return.

        Args:
            status: Of the response.

        Raises:
            Exception: A hook has raised it. That hook is not called again: the response
                to this error would fail as well.
        """
        lines = b""
        for hook in self._hooks.copy():
            try:
                lines += serialize_fields(hook(status)).lines
            except BaseException:
                self._hooks.remove(hook)
                raise
        return lines
