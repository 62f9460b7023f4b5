"""Clients that never retry: each failed request is somebody's lost request."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.process.service import serialize_get
from tests.support.clock import scaled
from tests.support.peer import RawPeer
from tests.support.response import Response

SLOW = serialize_get("/slow")
ONCE = serialize_get("/", "Connection: close")
PAUSE_S = 0.02
EARLY_S = 0.15
"""No worker of the tests closes a connection that was idle for less."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One lost request, or a kept connection that was closed too early.

    Attributes:
        kind: Of the client: ``post``, ``slow`` or ``once``.
        phase: ``connect``, ``send``, ``answer`` or ``idle``.
        what: In words.
        connected_at: When its connection was made, monotonic time.
        failed_at: When it failed.
        answered: How many requests were answered on it before.
        local_port: Of the client; 0: it has never had one.
    """

    kind: str
    phase: str
    what: str
    connected_at: float
    failed_at: float
    answered: int
    local_port: int

    def __str__(self) -> str:
        age_s = self.failed_at - self.connected_at
        where = f"port {self.local_port}, {age_s:.3f} s old, {self.answered} answered"
        return (
            f"{self.kind} at {self.failed_at:.2f}: {self.phase}: {self.what} ({where})"
        )


class WrongAnswerError(AssertionError):
    """Another answer than the request asks for."""


class StrictClient:
    """One client: a connection after the other, a request after the other.

    Args:
        clients: It belongs to these.
        kind: ``post``, ``slow`` or ``once``.
        number: Makes its content its own.
    """

    def __init__(self, clients: "StrictClients", kind: str, number: int) -> None:
        self._clients = clients
        self._kind = kind
        self._number = number
        self._asked = 0
        self._forget_connection()

    def _forget_connection(self) -> None:
        self._phase = "connect"
        self._connected_at = time.monotonic()
        self._answered = self._local_port = 0

    async def ask_on_and_on(self) -> None:
        """Until the clients are over; each failure is recorded."""
        while not self._clients.is_over:
            self._forget_connection()
            try:
                await self._use_one_connection()
            except (OSError, AssertionError, TimeoutError) as error:
                self._clients.failures.append(self._describe(error))
            await asyncio.sleep(PAUSE_S)

    async def _use_one_connection(self) -> None:
        async with await RawPeer.connect(*self._clients.address) as peer:
            self._local_port = peer.local_port
            is_kept = True
            while is_kept and not self._clients.is_over:
                request, wanted = self._compose()
                self._phase = "send"
                await peer.send(request)
                self._phase = "answer"
                response = await peer.read_response(timeout_s=scaled(10))
                self._check(response, wanted)
                is_kept = response.field("connection") != "close"
                is_kept = is_kept and await self._stays_open(peer)

    async def _stays_open(self, peer: RawPeer) -> bool:
        """Rest; whether the connection can take a further request."""
        self._phase = "idle"
        rested_at = time.monotonic()
        await asyncio.sleep(PAUSE_S)
        if not peer.has_ended():
            return True
        idle_s = time.monotonic() - rested_at
        assert idle_s > self._clients.early_s, f"closed after {idle_s:.3f} s of rest"
        return False

    def _compose(self) -> tuple[bytes, bytes]:
        """A request, and the content of its answer; b"" for any."""
        self._asked += 1
        if self._kind == "slow":
            return SLOW, b"late"
        if self._kind == "once":
            return ONCE, b""
        content = b"%d/%d " % (self._number, self._asked) * 100
        length = f"Content-Length: {len(content)}"
        head = serialize_get("/echo", length).replace(b"GET", b"POST", 1)
        return head + content, content

    def _check(self, response: Response, wanted: bytes) -> None:
        if response.status != 200 or (wanted and response.body != wanted):
            raise WrongAnswerError(f"{response.octets[:300]!r}")
        self._answered += 1
        self._clients.answered[self._kind] += 1
        if self._kind == "once":
            self._clients.pids.add(int(response.body))

    def _describe(self, error: BaseException) -> Failure:
        return Failure(
            kind=self._kind,
            phase=self._phase,
            what=f"{type(error).__name__} {error}",
            connected_at=self._connected_at,
            failed_at=time.monotonic(),
            answered=self._answered,
            local_port=self._local_port,
        )


class StrictClients:
    """Keep-alive POSTs, slow requests and one-shot connections; use in a ``with``.

    Args:
        host: Where the service is.
        port: Likewise.
        count: Clients, as many of each kind.
        kinds: Which there are.
        early_s: A connection closed after less rest than this is a failure.

    Attributes:
        answered: Good answers by kind.
        failures: What went wrong.
        pids: Who answered the one-shot requests.
        address: Of the service.
        early_s: As given.
    """

    def __init__(
        self,
        host: str,
        port: int,
        count: int = 48,
        early_s: float = EARLY_S,
        kinds: Sequence[str] = ("post", "slow", "once"),
    ) -> None:
        self.address = (host, port)
        self._count = count
        self._kinds = kinds
        self.early_s = early_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.answered: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.pids: set[int] = set()

    @property
    def is_over(self) -> bool:
        return self._is_over.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    async def _run(self) -> None:
        kinds = self._kinds
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                client = StrictClient(self, kinds[number % len(kinds)], number)
                group.create_task(client.ask_on_and_on())
