"""Fields of a response that are known before its head: of a middleware, a cookie."""

from collections.abc import Callable, Container

from blazeio.errors import FieldInput
from blazeio.wire.serializer import serialize_field, serialize_fields

HeadHook = Callable[[int], FieldInput | None]
"""From the status of a response to further fields of it."""


class ExtraFields:
    """The fields that were added to the answer of one request.

    They hold for whatever is answered at last, also for an error.
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
        """Ask for further fields when the head of a response is composed."""
        self._hooks.append(hook)

    def write(self, names: Container[str] = ()) -> bytes:
        """The lines that are known.

        Args:
            names: What the response has of its own, in small letters.
        """
        defaults = [line for name, line in self._defaults.items() if name not in names]
        return b"".join((*defaults, self._added))

    def ask_hooks(self, status: int) -> bytes:
        """The lines that the hooks want.

        Args:
            status: Of the response.

        Raises:
            Exception: What a hook has raised; it is not asked again, or the answer
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
