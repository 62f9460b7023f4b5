"""``start_response`` of PEP 3333, with all its rules. Pure.

It may be called late, as long as it comes before the first octet; twice only with
``exc_info``, which replaces a head of which nothing has left, and else raises the
exception that the app wanted to answer.
"""

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NoReturn

from blazeio.errors import LocalProtocolError
from blazeio.gateways.fields import write_fields
from blazeio.gateways.messages import ResponseStart
from blazeio.wire.field_lines import BoundedCache

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_STATUS: Final = re.compile(r"([2-5][0-9]{2})(?: [^\r\n]*)?", re.ASCII)


class StartResponse:
    """The head of one response, as the app declares it.

    Args:
        write: What ``start_response`` returns.

    Attributes:
        start: The head; None until it was declared.
        has_left: Something of the response has left.
    """

    __slots__ = ("_write", "has_left", "start")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.start: ResponseStart | None = None
        self.has_left = False

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        """Declare status and fields; nothing of them leaves before the first octet.

        Raises:
            LocalProtocolError: It was called twice, or something is malformed.
            BaseException: That of ``exc_info``, where the head has left.
        """
        if exc_info:
            try:
                if self.has_left:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback has this frame
        elif self.start is not None:
            reason = "start_response was called twice, without exc_info"
            raise LocalProtocolError(reason)
        fields = write_fields(_encode(headers))
        self.start = ResponseStart(_read_status(status), fields, False)
        return self._write


# From what an app says to the code: 0.2x of reading it.
_cached_statuses: Final[BoundedCache[str, int]] = BoundedCache(64)
_LONGEST_STATUS: Final = 64


def _read_status(status: object) -> int:
    if not isinstance(status, str):
        _refuse_status(status)
    known = _cached_statuses.recent.get(status) or _cached_statuses.recall(status)
    if known is not None:
        return known
    match = _STATUS.fullmatch(status)
    if match is None:
        _refuse_status(status)
    code = int(match[1])
    if len(status) <= _LONGEST_STATUS:
        _cached_statuses.keep(status, code)
    return code


def _refuse_status(status: object) -> NoReturn:
    expected = "expected e.g. '200 OK', 200 to 599"
    raise LocalProtocolError(f"status {status!r:.80}: {expected}")


def _encode(headers: object) -> list[tuple[bytes, bytes]]:
    if not isinstance(headers, list):
        kind = type(headers).__name__
        raise LocalProtocolError(f"the headers are a {kind}, expected a list")
    try:
        return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]
    except (AttributeError, TypeError, ValueError) as error:
        reason = "the headers are not pairs of latin-1 text, name and value"
        raise LocalProtocolError(f"{reason}: {error}") from None
