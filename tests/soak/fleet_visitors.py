"""Visitors of a site, on a machine of a network of its own.

    python -m tests.soak.fleet_visitors HOST PORT

They ask until the input ends. To each line of it they answer with one of JSON: what
they have seen since the last one.
"""

import asyncio
import json
import sys
import time

from tests.process.service import serialize_get
from tests.support.peer import RawPeer

KEPT, ONCE = 12, 12
"""How many keep their connections, and how many make one for each request."""
PAUSE_S = 0.02
LONG_S = 0.5
GIVE_UP_S = 30.0
SHOWN = 5


class Visitors:
    """All of them.

    Args:
        host: Of the site.
        port: Likewise.
    """

    def __init__(self, host: str, port: int) -> None:
        self._where = host, port
        self._forget()

    def _forget(self) -> None:
        self._answered = 0
        self._longest_s = 0.0
        self._failures: list[str] = []
        self._late: list[str] = []

    async def come(self) -> None:
        """Ask, and answer each line of the input, until it ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        async with asyncio.TaskGroup() as group:
            kinds = [True] * KEPT + [False] * ONCE
            tasks = [group.create_task(self._ask_on(is_kept)) for is_kept in kinds]
            while await reader.readline():
                print(json.dumps(self._take()), flush=True)
            for task in tasks:
                task.cancel()

    def _take(self) -> dict[str, object]:
        seen = {
            "answered": self._answered,
            "longest_s": self._longest_s,
            "failures": self._failures,
            "late": self._late,
        }
        self._forget()
        return seen

    async def _ask_on(self, is_kept: bool) -> None:
        while True:
            try:
                async with await RawPeer.connect(*self._where) as peer:
                    while await self._ask(peer, is_kept) and is_kept:
                        pass
            except (OSError, AssertionError, TimeoutError) as error:
                self._failures.append(f"{type(error).__name__} {error}"[:300])
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, peer: RawPeer, is_kept: bool) -> bool:
        began_at = time.monotonic()
        await peer.send(serialize_get("/", *([] if is_kept else ["Connection: close"])))
        response = await peer.read_response(timeout_s=GIVE_UP_S)
        took_s = time.monotonic() - began_at
        assert response.status == 200, response.octets[:200]
        self._answered += 1
        self._longest_s = max(self._longest_s, took_s)
        if took_s > LONG_S:
            self._late.append(f"{took_s:.2f} s until {time.time():.2f}")
        await asyncio.sleep(PAUSE_S)
        return response.field("connection") != "close"


if __name__ == "__main__":
    asyncio.run(Visitors(sys.argv[1], int(sys.argv[2])).come())
