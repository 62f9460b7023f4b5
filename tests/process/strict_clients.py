"""Clients that never retry: each failed request is somebody's lost request."""

import asyncio
import threading
from collections import Counter
from types import TracebackType
from typing import Self

from tests.process.service import serialize_get
from tests.support.clock import scaled
from tests.support.peer import RawPeer
from tests.support.response import Response

POST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
SLOW = serialize_get("/slow")
ONCE = serialize_get("/", "Connection: close")
PAUSE_S = 0.02


class StrictClients:
    """Keep-alive POSTs, slow requests and one-shot connections; use in a ``with``.

    Args:
        host: Where the service is.
        port: Likewise.
        count: Clients, a third of each kind.

    Attributes:
        answered: Good answers by kind.
        failures: What went wrong, by kind and words.
        pids: Who answered the one-shot requests.
    """

    def __init__(self, host: str, port: int, count: int = 48) -> None:
        self._address = (host, port)
        self._count = count
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.answered: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.pids: set[int] = set()

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
        kinds = [("post", POST), ("slow", SLOW), ("once", ONCE)]
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                kind, request = kinds[number % len(kinds)]
                group.create_task(self._ask_on_and_on(kind, request))

    async def _ask_on_and_on(self, kind: str, request: bytes) -> None:
        while not self._is_over.is_set():
            try:
                await self._use_one_connection(kind, request)
            except (OSError, AssertionError, TimeoutError) as error:
                self.failures[f"{kind}: {type(error).__name__} {error}"] += 1
                await asyncio.sleep(PAUSE_S)

    async def _use_one_connection(self, kind: str, request: bytes) -> None:
        async with await RawPeer.connect(*self._address) as peer:
            is_kept = True
            while is_kept and not self._is_over.is_set():
                await peer.send(request)
                response = await peer.read_response(timeout_s=scaled(10))
                self._check(kind, response)
                is_kept = response.field("connection") != "close"
                await asyncio.sleep(PAUSE_S)

    def _check(self, kind: str, response: Response) -> None:
        wanted = {"post": b"1000", "slow": b"late"}.get(kind, response.body)
        if response.status != 200 or response.body != wanted:
            self.failures[f"{kind}: {response.octets!r}"] += 1
            return
        self.answered[kind] += 1
        if kind == "once":
            self.pids.add(int(response.body))
