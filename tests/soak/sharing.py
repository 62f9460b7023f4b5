"""What workers share: new connections, and memory."""

import contextlib
from collections import Counter

import psutil

from tests.process.service import Service, serialize_get
from tests.soak.run import APP, Run
from tests.support.peer import BlockingPeer
from tests.support.response import parse_responses

BURSTS = 4
BURST = 500
WORKERS = 4
MOST_RATIO = 1.5
MIB = 1024 * 1024
IMPORTED_MIB = 100
MOST_PSS_RATIO = 1.6


def share_connections(run: Run) -> None:
    """Bursts of new connections, over all of them together."""
    counts: Counter[bytes] = Counter()
    with run.serve(workers=WORKERS) as service:
        for number in range(BURSTS):
            run.say(f"burst {number + 1} of {BURSTS}")
            counts.update(connect_at_once(service, BURST))
    few, most = min(counts.values()), max(counts.values())
    seen = sorted(counts.values())
    run.check("every worker has some", seen, holds=len(counts) == WORKERS)
    run.check_most(
        f"most/fewest connections of a worker, {seen}", most / few, MOST_RATIO
    )


def connect_at_once(service: Service, count: int) -> list[bytes]:
    """So many connections, then a request on each; who answered."""
    request = serialize_get("/", "Connection: close")
    host, port = service.server.host, service.server.port
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(BlockingPeer(host, port)) for _ in range(count)]
        for peer in peers:
            peer.send(request)
        answers = [parse_responses(peer.read_until_end()) for peer in peers]
    return [answer.body for (answer,) in answers]


# Like code and tables of modules: many objects, each referenced.
HEAVY = f"""
heavy = [(n, str(n), {{"n": n}}) for n in range({IMPORTED_MIB} * 2800)]
"""


def share_memory(run: Run) -> None:
    """Eight workers of an app that imports 100 MB, and one."""
    total = {}
    for workers in (1, 8):
        code = APP.read_text() + HEAVY
        with run.serve(code=code, workers=workers) as service:
            for _ in range(200):
                service.get()
            tree = [psutil.Process(service.server.pid), *service.server.children()]
            total[workers] = sum(pss_of(each) for each in tree) / MIB
    few, many = total[1], total[8]
    run.check("the app is that large", f"{few:.0f} MiB", holds=few > IMPORTED_MIB)
    seen = f"PSS with 8 workers ({many:.0f} MiB) / with one ({few:.0f} MiB)"
    run.check_most(seen, many / few, MOST_PSS_RATIO)


def pss_of(process: psutil.Process) -> int:
    """Memory, of shared pages its share."""
    return int(process.memory_full_info().pss)
