"""What a request costs the server, by 64 real connections in one process.

    python -m tests.bench.inproc --only hello --only cookie

Server and client are on one loop. The clock of the thread runs but for what the
client does, so that a busy machine bends little of it: less than of what wrk shows.
So many connections ask at once, then all answers are read. Rounds of all requests
and of the floor (a protocol that answers by constant octets) take turns.
"""

import argparse
import asyncio
import itertools
import socket
import statistics
import time
from collections.abc import Iterator, Sequence

import uvloop

from tests.bench.apps.floor_hello import Floor
from tests.bench.interpreter import read_interpreter
from tests.bench.measures import TIMEOUT_S
from tests.bench.requests import ANSWERS, REQUESTS, prepare_folder

CONNECTIONS = 64
AT_ONCE = (1, 8, 64)
FLOOR = "floor"


class Driver:
    """A client on the loop of the server.

    Args:
        port: Of the server.
        octets: What one connection after the other asks.
    """

    def __init__(self, port: int, octets: Sequence[bytes]) -> None:
        self._octets = itertools.cycle(octets)
        self._socks = [
            socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
            for _ in range(CONNECTIONS)
        ]
        self._answer_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None]
        self._spent_ns = self._left_at_ns = self._due = 0
        self._waiting: dict[socket.socket, int] = {}
        self._asking: Iterator[list[socket.socket]] = iter(())
        for sock in self._socks:
            sock.setblocking(False)

    async def learn_size(self) -> None:
        """Ask once, and see how many octets an answer has."""
        self._socks[0].sendall(next(self._octets))
        size = 0
        while True:
            await asyncio.sleep(0.05)
            try:
                size += len(self._socks[0].recv(1 << 20))
            except BlockingIOError:
                break
        self._answer_bytes = size

    async def measure(self, at_once: int, batches: int) -> float:
        """Microseconds of the server for a request, if so many come at once."""
        groups = [
            self._socks[first : first + at_once]
            for first in range(0, CONNECTIONS, at_once)
        ]
        self._asking = itertools.islice(itertools.cycle(groups), batches)
        self._done = self._loop.create_future()
        self._spent_ns, self._waiting = 0, {}
        self._left_at_ns = time.thread_time_ns()
        self._turn()
        await self._done
        return self._spent_ns / 1e3 / (batches * at_once)

    def _turn(self) -> None:
        """Be the client for once in a turn of the loop."""
        self._spent_ns += time.thread_time_ns() - self._left_at_ns
        self._read()
        if not self._waiting:
            group = next(self._asking, None)
            if group is None:
                self._done.set_result(None)
                return
            for sock in group:
                sock.send(next(self._octets))
                self._waiting[sock] = self._answer_bytes
        self._loop.call_soon(self._turn)
        self._left_at_ns = time.thread_time_ns()

    def _read(self) -> None:
        for sock in list(self._waiting):
            try:
                self._waiting[sock] -= len(sock.recv(1 << 20))
            except BlockingIOError:
                continue
            if self._waiting[sock] <= 0:
                del self._waiting[sock]

    def close(self) -> None:
        """Close all connections."""
        for sock in self._socks:
            sock.close()


async def run(options: argparse.Namespace) -> None:
    """Measure all; print a line each."""
    from blazeio.testing import TestServer
    from tests.bench.apps import blazeio_cases

    loop = asyncio.get_running_loop()
    floor = await loop.create_server(Floor, "127.0.0.1", 0)
    floor_port = floor.sockets[0].getsockname()[1]
    async with TestServer(blazeio_cases.web) as server:
        drivers = {FLOOR: Driver(floor_port, REQUESTS["hello"])}
        for name in options.only or REQUESTS:
            drivers[name] = Driver(server.port, REQUESTS[name])
        for driver in drivers.values():
            await driver.learn_size()
        figures = {name: [0.0] * len(AT_ONCE) for name in drivers}
        for place, at_once in enumerate(AT_ONCE):
            found = await measure_in_turns(drivers, at_once, options.rounds)
            for name, spans in found.items():
                figures[name][place] = statistics.median(spans) / ANSWERS.get(name, 1)
        print(f"{'us a request; at once:':32}" + "".join(f"{n:8}" for n in AT_ONCE))
        for name, spans in figures.items():
            print(f"{name:32}" + "".join(f"{us:8.2f}" for us in spans))
        for driver in drivers.values():
            driver.close()
    floor.close()


async def measure_in_turns(
    drivers: dict[str, Driver], at_once: int, rounds: int
) -> dict[str, list[float]]:
    """Microseconds of each in each round, without the slower half of the rounds."""
    batches = max(512 // at_once, CONNECTIONS // at_once)
    spans: dict[str, list[float]] = {name: [] for name in drivers}
    for number in range(rounds + 1):
        for name, driver in drivers.items():
            us = await driver.measure(at_once, batches)
            if number:  # the first one warms up
                spans[name].append(us)
    return {name: sorted(all_us)[: rounds // 2 + 1] for name, all_us in spans.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        "python -m tests.bench.inproc", description=__doc__
    )
    parser.add_argument("--only", action="append", choices=list(REQUESTS))
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args(arguments)
    print(read_interpreter())
    with prepare_folder():
        uvloop.run(run(options))


if __name__ == "__main__":
    main()
