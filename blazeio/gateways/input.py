"""``wsgi.input`` of a body that has not arrived yet: a file that waits for it."""

from collections.abc import Callable, Iterator


class BodyReader:
    """The body of a request, read in the app's thread as it arrives.

    Its end is an empty read, whatever the framing (``wsgi.input_terminated``).

    Args:
        pull: Waits for the next octets; b"" at the end. What it raises goes to the
            app.
    """

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self._pull = pull
        self._held = b""
        self._at = 0
        self._is_over = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many octets, fewer only at the end; all of them without a size."""
        if size is None or size < 0:
            parts = [self._take(len(self._held))]
            while self._fill():
                parts.append(self._take(len(self._held)))
            return b"".join(parts)
        while len(self._held) - self._at < size and self._fill():
            pass
        return self._take(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line with its end, or the first ``size`` octets of it."""
        most = -1 if size is None else size
        if most == 0:
            return b""
        searched = self._at
        while True:
            end = self._held.find(b"\n", searched) + 1
            if end and (most < 0 or end - self._at <= most):
                return self._take(end - self._at)
            if 0 <= most <= len(self._held) - self._at:
                return self._take(most)
            searched_bytes = len(self._held) - self._at
            if not self._fill():
                return self._take(searched_bytes)
            # What was searched once is not searched again: else a line that arrives in
            # many pieces would take the square of their number.
            searched = self._at + searched_bytes

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return all lines; with a hint, about so many octets of them."""
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self) -> None:
        """Do nothing: the body is the server's."""

    def _take(self, size: int) -> bytes:
        octets = self._held[self._at : self._at + size]
        self._at += len(octets)
        if self._at == len(self._held):
            self._held, self._at = b"", 0
        return octets

    def _fill(self) -> bool:
        """Wait for more; whether there is some."""
        if self._is_over:
            return False
        piece = self._pull()
        if not piece:
            self._is_over = True
            return False
        self._held = self._held[self._at :] + piece
        self._at = 0
        return True
