"""Reading server-sent events: WHATWG HTML section 9.2.

Octets in, events out, however the octets were cut. A line ends with CR, LF or CRLF; an
event is returned with the line end that completes it, though a LF may still follow its
CR. An event that the end of the stream cuts off is dropped, as the standard says: the
server sends it again when the client reconnects with ``last_event_id``.
"""

import re
from typing import Final

from msgspec import Struct

from blazeio.errors import RemoteProtocolError

EVENT_BYTES: Final = 1024 * 1024
"""The bound of a line, and of the data of one event, octets."""
ID_BYTES: Final = 4 * 1024
"""The bound of an id, octets. A client sends it as a field of its next request; a
longer one is ignored, since no server would read it."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"
# "Only ASCII digits"; nine of them are eleven days, and the integer stays small.
_RETRY: Final = re.compile(r"[0-9]{1,9}")


class ServerSentEvent(Struct, frozen=True):
    """One event.

    Attributes:
        data: Its lines, joined by LF.
        event: Its type.
        event_id: The last id that the stream has set, here or before; "" where it has
            set none.
    """

    data: str
    event: str = "message"
    event_id: str = ""


class EventStreamParser:
    """Turns the octets of one stream into events.

    Args:
        last_event_id: Of the stream that this one continues.
        event_bytes: The bound of a line, and of the data of one event, octets.

    Attributes:
        last_event_id: The id of the last event; the client sends it when it reconnects.
        retry_s: How long the client waits before it reconnects, seconds; None: its own
            choice.
    """

    __slots__ = (
        "_data",
        "_data_bytes",
        "_ends_with_cr",
        "_event",
        "_event_bytes",
        "_event_id",
        "_is_at_start",
        "_line",
        "last_event_id",
        "retry_s",
    )

    def __init__(self, last_event_id: str = "", event_bytes: int = EVENT_BYTES) -> None:
        self.last_event_id = self._event_id = last_event_id
        self.retry_s: float | None = None
        self._event_bytes = event_bytes
        self._line = bytearray()  # a list of tiny pieces would take 40 times the memory
        self._ends_with_cr = False
        self._is_at_start = True
        self._event = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, octets: bytes) -> list[ServerSentEvent]:
        """Take the next octets; return the events that they complete.

        Raises:
            RemoteProtocolError: The peer's fault: a line or an event is too large. The
                parser is of no use any more.
        """
        events: list[ServerSentEvent] = []
        if not octets:
            return events
        # The line ended with the CR; the LF that has come since is the rest of that
        # line end and no empty line, which would end the event.
        start = int(self._ends_with_cr and octets.startswith(b"\n"))
        self._ends_with_cr = octets.endswith(b"\r")
        *ended, rest = _LINE_END.split(octets[start:])
        for piece in ended:
            self._add_to_line(piece)
            line = bytes(self._line)
            self._line.clear()
            self._take_line(line, events)
        self._add_to_line(rest)
        return events

    def _add_to_line(self, piece: bytes) -> None:
        self._line += piece
        if len(self._line) > self._event_bytes:
            raise self._too_large("a line of the event stream")

    def _take_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._is_at_start:
            # The standard's grammar: one byte order mark may be in front of the whole
            # stream.
            line = line.removeprefix(_BOM)
            self._is_at_start = False
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        if name:  # else it is a comment
            text = value.removeprefix(b" ").decode(errors="replace")
            self._take_field(name, text, len(value))

    def _take_field(self, name: bytes, value: str, size: int) -> None:
        match name:
            case b"data":
                self._data.append(value)
                self._data_bytes += size + 1
                if self._data_bytes > self._event_bytes:
                    raise self._too_large("an event")
            case b"event":
                self._event = value
            # The standard ignores an id with NUL, which no field value may hold.
            case b"id" if "\0" not in value and size <= ID_BYTES:
                self._event_id = value
            case b"retry" if _RETRY.fullmatch(value):
                self.retry_s = int(value) / 1000
            case _:
                pass  # "Otherwise, the field is ignored"

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        """End an event, at an empty line; without data only its id counts."""
        # Set by an event without data as well: so a server moves its clients on.
        self.last_event_id = self._event_id
        if self._data:
            data = "\n".join(self._data)
            event = self._event or "message"
            events.append(ServerSentEvent(data, event, self.last_event_id))
        self._data, self._data_bytes, self._event = [], 0, ""

    def _too_large(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"{what} is larger than {self._event_bytes} octets")
