"""Visitors of a site, on a machine that is not the test's own.

    python -m tests.deploy.visitors HOST PORT FILE

So many a second, a connection for each, until TERM; what they were answered is
counted, and written to the file four times a second: ``[[status, body, count], ...]``.
Status 0 is no answer.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.support.peer import RawPeer

EVERY_S = 0.01
WRITTEN_EVERY_S = 0.25
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Visitors:
    """All of them.

    Args:
        host: Of the site.
        port: Likewise.
        file: Gets the counts.
    """

    def __init__(self, host: str, port: int, file: Path) -> None:
        self._where = host, port
        self._file = file
        self._seen: Counter[tuple[int, str]] = Counter()
        self._is_over = False

    async def come(self) -> None:
        """Come until TERM, and write the last counts when all have been answered."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        next_at = written_at = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            while not self._is_over:
                tasks.create_task(self._visit())
                next_at = max(next_at + EVERY_S, time.monotonic())
                await asyncio.sleep(next_at - time.monotonic())
                if next_at >= written_at + WRITTEN_EVERY_S:
                    written_at = next_at
                    self._write()
        self._write()

    def _end(self) -> None:
        self._is_over = True

    async def _visit(self) -> None:
        try:
            peer = await RawPeer.connect(*self._where)
            async with peer:
                await peer.send(REQUEST)
                response = await peer.read_response()
            body = response.body.decode() if response.status == 200 else ""
            self._seen[response.status, body] += 1
        except (OSError, AssertionError) as error:
            self._seen[0, repr(error)] += 1

    def _write(self) -> None:
        rows = [[*seen, count] for seen, count in self._seen.items()]
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(rows))
        os.replace(new, self._file)


if __name__ == "__main__":
    asyncio.run(Visitors(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])).come())
