"""How the control socket answers: JSON, a refusal, or an answer that lasts.

Who follows the events, or waits for the end of something, holds a connection for as
long as it likes, so there is a bound for those: the other verbs are always answered.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import MappingProxyType

from msgspec import Struct

from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.escaping import encode_json

_JSON = {"Content-Type": "application/json"}
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})

LASTING_COUNT = 24
"""How many may be under way at once."""


def show(
    r: BlazeioServerProtocol,
    answer: Struct,
    status: int = HTTPStatus.OK,
    fields: Mapping[str, str] = _NO_FIELDS,
) -> None:
    """Send an answer; the strings in it, whoever said them, are all JSON."""
    r.reply(encode_json(answer), status, headers={**_JSON, **fields})


class RefusedError(Exception):
    """An order is not carried out.

    Args:
        reason: One line for whoever gave it.
        status: 400 when the order is wrong in itself, 503 when there are too many
            of its kind, else 409.
    """

    def __init__(self, reason: str, status: int = 409) -> None:
        super().__init__(reason)
        self.status = status


class Lasting:
    """Those that are under way."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def answer(self) -> Iterator[None]:
        """Count one while it lasts.

        Raises:
            RefusedError: There are too many.
        """
        if self._count >= LASTING_COUNT:
            text = (
                f"{LASTING_COUNT} are following events or waiting for the end of an "
                "order: end one of them"
            )
            raise RefusedError(text, 503)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
