"""Random requests to the control socket and to the address of the metrics.

    python -m tests.fuzz.local_users --seconds 600

Each is a request that means something, cut, spliced and changed at random by a
seed. Whatever is sent: the answers are whole HTTP, none of them is 500, nothing
is logged as a fault of ours, no connection is left, and the next request is
answered as ever.
"""

import argparse
import asyncio
import logging
import os
import random
import tempfile
import time
from pathlib import Path

from blazeio_supervisor.master.metrics import Exposition, MetricsServer
from blazeio_supervisor.sockets.address import UnixAddress
from tests.supervisor.cli.control_harness import ControlServerHarness
from tests.support.clock import wait_until
from tests.support.peer import RawPeer
from tests.support.response import parse_responses
from tests.support.served import serialize_request

_PEERS = 16
_TARGETS = (
    b"/service /status /events?last=3 /events?after=x&last=-1 /metrics /config "
    b"/upgrade /livez /readyz /reload /scale /recycle /park /resume /stack "
    b"/reopen-logs /stop / * http://a/status"
).split()
_ORDERS = (
    b"{}",
    b'{"count": 2}',
    b'{"count": -99999999999999999999999}',
    b'{"count": 1e999, "change": NaN}',
    b'{"slot": 1}',
    b'{"slot": "\\ud800"}',
    b'{"check": true, "check": false}',
    b'{"x": ' + b"[" * 2000 + b"]" * 2000,
    b'{"is_quick": true}' + b" " * 5000,
    b"\xff\xfe\x00",
)
_PIECES = (b"\r\n", b"\n", b"\0", b"\xff", b"\x1b[2J", b": ", b"Content-Length: 4", b"")


def make_request(chance: random.Random) -> bytes:
    """A request, as it should be."""
    target = chance.choice(_TARGETS)
    if chance.random() < 0.5:
        return b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    content = chance.choice(_ORDERS)
    length = b"Content-Length: %d" % len(content)
    head = b"POST " + target + b" HTTP/1.1\r\nHost: a\r\n" + length
    return head + b"\r\n\r\n" + content


def make_octets(chance: random.Random) -> bytes:
    """Some requests, changed in a few places."""
    octets = b"".join(make_request(chance) for _ in range(chance.randint(1, 3)))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        at = chance.randrange(len(octets) + 1)
        end = at + chance.choice((0, 0, 1, 2, 30))
        octets = octets[:at] + chance.choice(_PIECES) + octets[end:]
    return octets if chance.random() < 0.8 else octets[: chance.randrange(200)]


class _Faults(logging.Handler):
    """Keeps what is logged as a fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "event"):  # what came of an order is not a fault
            self.texts.append(logging.Formatter().format(record)[-500:])


class LocalUsers:
    """A room with both servers, and those who ask them.

    Args:
        folder: Empty.
        seed: Makes the same requests again.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._room = ControlServerHarness(
            folder, control=f"@blazeio-fuzz/{os.getpid()}/{seed}"
        )
        service = self._room.service
        self._metrics = MetricsServer(service, Exposition(service))
        self._path = str(folder / "m.sock")
        self._metrics.open(UnixAddress(self._path), asyncio.get_running_loop())
        self._faults = _Faults()

    async def ask_for(self, span_s: float) -> int:
        """Ask for so long; how often that was.

        Raises:
            AssertionError: An answer, or what was logged, is not as it should be.
        """
        count, end = 0, time.monotonic() + span_s
        loggers = [logging.getLogger("blazeio"), logging.getLogger("asyncio")]
        for logger in loggers:
            logger.addHandler(self._faults)
        try:
            while time.monotonic() < end:
                each = [make_octets(self._chance) for _ in range(_PEERS)]
                await asyncio.gather(*map(self._converse, each))
                count += _PEERS
                assert not self._faults.texts, self._faults.texts
            await self._look_again()
        finally:
            for logger in loggers:
                logger.removeHandler(self._faults)
            self._metrics.close()
            self._room.server.close()
        return count

    async def _converse(self, octets: bytes) -> None:
        address = self._chance.choice((self._path, self._room.place.address))
        async with await RawPeer.connect(address) as peer:
            try:
                await peer.send(octets)
                peer.half_close()
                said = await peer.read_until_end(20)
            except (ConnectionError, OSError):
                return  # it was cut
        try:
            statuses = [each.status for each in parse_responses(said)]
        except AssertionError as error:
            raise AssertionError(_describe(octets, said)) from error
        assert 500 not in statuses, _describe(octets, said)

    async def _look_again(self) -> None:
        server = self._room.server._server
        assert server is not None
        await wait_until(lambda: server.connection_count == 0)
        for address, target in (
            (self._room.place.address, "/status"),
            (self._path, "/livez"),
        ):
            async with await RawPeer.connect(address) as peer:
                await peer.send(serialize_request("GET", target))
                assert (await peer.read_response()).status == 200


def _describe(octets: bytes, said: bytes) -> str:
    return f"{octets[:500]!r} was answered by {said[-500:]!r}"


async def fuzz(seconds: float, seed: int) -> int:
    """Ask for so many seconds, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return await LocalUsers(Path(folder), seed).ask_for(seconds)


def main() -> None:
    """Fuzz for a given time; exit 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.local_users")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options = parser.parse_args()
    print(f"fuzzing for {options.seconds} s; seed {options.seed}")
    print(f"{asyncio.run(fuzz(options.seconds, options.seed))} connections, no finding")


if __name__ == "__main__":
    main()
