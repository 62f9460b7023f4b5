"""Clients that send exact octets: `RawPeer` on a loop, `BlockingPeer` without.

Neither repairs, reorders or retries anything. Both read with a deadline.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from tests.support.clock import scaled, within
from tests.support.response import Response, parse_response

Address = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""

Taken = TypeVar("Taken")

READ_BYTES = 65536
TIMEOUT_S = 20.0


class UnexpectedEndError(AssertionError):
    """The server closed or reset before the response was whole."""


def open_socket(address: Address, receive_buffer_bytes: int = 0) -> socket.socket:
    """An unconnected socket for ``address``.

    Args:
        address: Host and port, or a unix path.
        receive_buffer_bytes: SO_RCVBUF, set before connecting so that the
            window is small from the start; 0 leaves the kernel's choice.
    """
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    return sock


def reset_on_close(sock: socket.socket) -> None:
    """Have ``close`` send RST at once, as a crashed peer does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Inbox:
    """What was received and not yet taken."""

    def __init__(self) -> None:
        self.octets = b""
        self.is_ended = False

    def take(self, method: str) -> Response | None:
        response = parse_response(self.octets, method=method, is_ended=self.is_ended)
        if response is not None:
            self.octets = self.octets[len(response.octets) :]
        elif self.is_ended:
            raise UnexpectedEndError(f"the server ended after {self.octets[:300]!r}")
        return response

    def take_all(self) -> bytes:
        octets, self.octets = self.octets, b""
        return octets

    def feed(self, octets: bytes) -> None:
        self.octets += octets
        self.is_ended = not octets


class RawPeer:
    """An asyncio client: ``async with await RawPeer.connect(host, port) as p``.

    Attributes:
        octets: Received and not yet taken by a read.
        is_ended: The server has sent FIN.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._inbox = _Inbox()

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int = 0,
        *,
        receive_buffer_bytes: int = 0,
        local_host: str = "",
    ) -> Self:
        """Connect to host and port, or to the unix path ``host`` without one.

        Args:
            host: See above.
            port: See above.
            receive_buffer_bytes: As of ``open_socket``.
            local_host: The address to come from; "": the kernel's choice.
        """
        address: Address = (host, port) if port else host
        sock = open_socket(address, receive_buffer_bytes)
        sock.setblocking(False)
        try:
            if local_host:
                sock.bind((local_host, 0))
            await within(asyncio.get_running_loop().sock_connect(sock, address))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    @property
    def octets(self) -> bytes:
        return self._inbox.octets

    @property
    def is_ended(self) -> bool:
        return self._inbox.is_ended

    @property
    def local_port(self) -> int:
        return int(self._sock.getsockname()[1])

    def has_ended(self) -> bool:
        """Whether the server has closed by now; takes nothing.

        Raises:
            ConnectionResetError: It has reset.
        """
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False

    async def send(self, octets: bytes) -> None:
        """Send all of ``octets``; waits while the server does not read."""
        loop = asyncio.get_running_loop()
        await within(loop.sock_sendall(self._sock, octets), TIMEOUT_S)

    async def read_response(
        self, *, method: str = "GET", timeout_s: float = TIMEOUT_S
    ) -> Response:
        """The next response; of an interim one too.

        Raises:
            UnexpectedEndError: The server closed before it was whole.
            TimeoutError: It was not whole after ``timeout_s`` (scaled).
        """
        async with asyncio.timeout(scaled(timeout_s)):
            while (response := self._inbox.take(method)) is None:
                await self._receive()
        return response

    async def read_until_end(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """All octets up to the server's FIN."""
        async with asyncio.timeout(scaled(timeout_s)):
            while not self.is_ended:
                await self._receive()
        return self._inbox.take_all()

    async def read_some(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """What is there, or comes next; b"" after the server's FIN."""
        async with asyncio.timeout(scaled(timeout_s)):
            if not self.octets and not self.is_ended:
                await self._receive()
        return self._inbox.take_all()

    async def exchange(self, octets: bytes, *, method: str = "GET") -> bytes:
        """Send a request; the octets of exactly one response to it."""
        await self.send(octets)
        return (await self.read_response(method=method)).octets

    def half_close(self) -> None:
        """Send FIN; the answer can still be read."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST."""
        reset_on_close(self._sock)
        self._sock.close()

    def close(self) -> None:
        """Close; may be repeated."""
        self._sock.close()

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        self._inbox.feed(await loop.sock_recv(self._sock, READ_BYTES))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class BlockingPeer:
    """The same for tests of other processes, and for threads.

    Args:
        host: An address, or a unix path when ``port`` is 0.
        port: The port.
        timeout_s: Deadline of each call, scaled.
        receive_buffer_bytes: See `open_socket`.
    """

    def __init__(
        self,
        host: str,
        port: int = 0,
        *,
        timeout_s: float = TIMEOUT_S,
        receive_buffer_bytes: int = 0,
    ) -> None:
        address: Address = (host, port) if port else host
        self._inbox = _Inbox()
        self._sock = open_socket(address, receive_buffer_bytes)
        self._sock.settimeout(scaled(timeout_s))
        try:
            self._sock.connect(address)
        except BaseException:
            self._sock.close()
            raise

    @property
    def octets(self) -> bytes:
        return self._inbox.octets

    @property
    def is_ended(self) -> bool:
        return self._inbox.is_ended

    @property
    def local_port(self) -> int:
        return int(self._sock.getsockname()[1])

    def has_ended(self) -> bool:
        """Whether the server has closed by now; takes nothing.

        Raises:
            ConnectionResetError: It has reset.
        """
        try:
            return not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def send(self, octets: bytes) -> None:
        """Send all of ``octets``."""
        self._sock.sendall(octets)

    def read_response(self, *, method: str = "GET") -> Response:
        """The next response; UnexpectedEndError when the server closes before."""
        return self._read(lambda: self._inbox.take(method))

    def read_until_end(self) -> bytes:
        """All octets up to the server's FIN."""
        self._read(lambda: self.is_ended or None)
        return self._inbox.take_all()

    def read_until(self, octets: bytes) -> None:
        """Wait until they have come; takes nothing."""
        self._read(lambda: octets in self.octets or None)

    def exchange(self, octets: bytes, *, method: str = "GET") -> bytes:
        """Send a request; the octets of exactly one response to it."""
        self.send(octets)
        return self.read_response(method=method).octets

    def half_close(self) -> None:
        """Send FIN; the answer can still be read."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST."""
        reset_on_close(self._sock)
        self._sock.close()

    def close(self) -> None:
        """Close; may be repeated."""
        self._sock.close()

    def _read(self, take: Callable[[], Taken | None]) -> Taken:
        while (taken := take()) is None:
            self._inbox.feed(self._sock.recv(READ_BYTES))
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
