"""From the frames of a WebSocket to its messages. Pure.

May import: nothing of blazeio.
"""

import codecs

from websockets.frames import Frame, Opcode

from blazeio.protocol.flow import JOINED_BYTES, join_small


class MessageAssembler:
    """Joins the fragments of messages (RFC 6455 section 5.4).

    The order of the frames, and the size of a message, were checked before.
    Text is checked as it comes: that it is no UTF-8 shows before its end.
    """

    __slots__ = ("_decoder", "_octets", "_texts")

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None
        self._texts: list[str] = []
        self._octets: list[bytes] | None = None

    @property
    def is_busy(self) -> bool:
        """A message has begun and not ended."""
        return self._decoder is not None or self._octets is not None

    def feed(self, frame: Frame) -> str | bytes | None:
        """Take a data frame; give the message that it ends, if it does.

        Raises:
            UnicodeDecodeError: It is text and no UTF-8.
        """
        # Hot: runs once per frame; most messages are one frame.
        if frame.fin and frame.opcode is not Opcode.CONT:
            if frame.opcode is Opcode.BINARY:
                return bytes(frame.data)
            return str(frame.data, "utf-8")
        if frame.opcode is Opcode.TEXT:
            self._decoder = codecs.getincrementaldecoder("utf-8")()
        elif frame.opcode is Opcode.BINARY:
            self._octets = []
        return self._join(bytes(frame.data), is_last=frame.fin)

    def _join(self, octets: bytes, *, is_last: bool) -> str | bytes | None:
        if self._octets is not None:
            join_small(self._octets, octets)
            if not is_last:
                return None
            whole, self._octets = b"".join(self._octets), None
            return whole
        assert self._decoder is not None  # a continuation continues something
        text = self._decoder.decode(octets, is_last)
        if self._texts and len(self._texts[-1]) + len(text) <= JOINED_BYTES:
            self._texts[-1] += text
        else:
            self._texts.append(text)
        if not is_last:
            return None
        text, self._texts, self._decoder = "".join(self._texts), [], None
        return text
