"""The receiving end of sd_notify(3), as systemd has it: for tests without root."""

import os
import socket
from collections import defaultdict
from types import TracebackType
from typing import Self

_MESSAGE_BYTES = 64 * 1024
_MOST_FDS = 253


class ListeningManager:
    """Hears what a service says. Use it in a ``with``.

    Args:
        address: A path, or ``@name`` in the abstract namespace.

    Attributes:
        address: For ``$NOTIFY_SOCKET``.
        messages: All that was heard, but BARRIER.
        stored: Descriptors that it was given to keep, by name.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[str] = []
        self.stored: dict[str, list[int]] = defaultdict(list)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def read(self) -> list[str]:
        """Hear what has come since the last time."""
        before = len(self.messages)
        while True:
            try:
                octets, fds, _, _ = socket.recv_fds(
                    self._sock, _MESSAGE_BYTES, _MOST_FDS
                )
            except BlockingIOError:
                return self.messages[before:]
            self._take(octets.decode(), list(fds))

    @property
    def lines(self) -> list[str]:
        """Every line heard so far, in order."""
        self.read()
        return [line for message in self.messages for line in message.split("\n")]

    def value(self, name: str) -> str:
        """The last value of a variable; "" before the first."""
        values = [x.partition("=")[2] for x in self.lines if x.startswith(f"{name}=")]
        return values[-1] if values else ""

    def _take(self, message: str, fds: list[int]) -> None:
        variables = dict(line.split("=", 1) for line in message.split("\n"))
        if "BARRIER" in variables:
            _close_all(fds)  # whoever waits goes on
            return
        self.messages.append(message)
        if "FDSTORE" in variables:
            self.stored[variables["FDNAME"]] += fds
        elif "FDSTOREREMOVE" in variables:
            _close_all(self.stored.pop(variables["FDNAME"], []))
        else:
            _close_all(fds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sock.close()
        for fds in self.stored.values():
            _close_all(fds)
        if not self.address.startswith("@"):
            os.unlink(self.address)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
