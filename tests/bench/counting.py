"""What counting a request for the scoreboard costs a request.

    python -m tests.bench.counting

As in ``access_log``: connections without sockets, served by one loop, without
and with a counter in turns; the difference of the best rounds is the cost.
"""

import uvloop

from blazeio.server.server import Server
from blazeio_supervisor.ipc.scoreboard import Row, make_row_memory
from blazeio_supervisor.worker.counting import RouteCounter, WorkerTally
from tests.bench.access_log import REQUESTS_A_ROUND, ROUNDS, SHORTEST, Load


def make_tally() -> WorkerTally:
    """Make one that counts for nobody."""
    return WorkerTally(Row(make_row_memory()))


def count_as_worker(server: Server) -> None:
    """Have a server do for each request what it does in a worker."""
    server.count_requests(make_tally())


def count_routes(server: Server) -> None:
    """Have it count by route, too, as a worker does with ``--rollback-5xx``."""
    server.record_responses(RouteCounter(Row(make_row_memory()).routes))


async def measure(count: int) -> tuple[float, float]:
    """Microseconds per request, without and with the counter."""
    loads = (Load(SHORTEST, count, None), Load(SHORTEST, count, None))
    loads[1].context.count_requests(make_tally())
    spans: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for load, found in zip(loads, spans, strict=True):
            found.append(await load.run(REQUESTS_A_ROUND // count))
    return min(spans[0]), min(spans[1])


def main() -> None:
    """Measure few and many requests in a turn."""
    print(f"{'a turn':>6}{'without':>9}{'with':>8}{'us':>7}")
    for count in (1, 4, 16, 64):
        off, on = uvloop.run(measure(count))
        print(f"{count:6}{off:9.2f}{on:8.2f}{on - off:7.2f}", flush=True)


if __name__ == "__main__":
    main()
