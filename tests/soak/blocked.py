"""One of four workers is blocked, and new connections come."""

import re
import time

from tests.process.service import Service, serialize_get
from tests.soak.run import Run, wait_some
from tests.support.clock import block_until
from tests.support.peer import BlockingPeer

MOST_S = 0.5
WORKERS = 4
CLIENTS = 200


def block_one_of_four(run: Run) -> None:
    """200 new connections over the time that one worker is blocked."""
    span_s = run.pick(8.0, 2.5)
    with run.serve(workers=WORKERS) as service, service.server.connect(30) as busy:
        busy.send(serialize_get(f"/block?{span_s:g}"))
        block_until(lambda: find_blocked(service), 5, "a worker is blocked")
        slowest_s = ask(run, service, CLIENTS, span_s * 0.9)
        is_blocked = not busy.has_ended() and not busy.octets
        run.check("it is blocked to the end", is_blocked, holds=is_blocked)
        run.check_most(f"slowest of {CLIENTS} new connections", slowest_s, MOST_S, " s")
        busy.read_response()
        check_dump(run, service)


def find_blocked(service: Service) -> bool:
    """Whether a request is in the handler: its connection is accepted."""
    return any(
        connection.status == "ESTABLISHED"
        for worker in service.server.children("blazeio: worker")
        for connection in worker.net_connections("tcp")
    )


def ask(run: Run, service: Service, count: int, span_s: float) -> float:
    """New connections, evenly over a span; seconds of the slowest answer."""
    began_at = time.monotonic()
    slowest_s = 0.0
    for number in range(count):
        run.say(f"connection {number + 1} of {count}")
        due_in_s = began_at + span_s * number / count - time.monotonic()
        wait_some(max(due_in_s, 0.0))
        asked_at = time.monotonic()
        with BlockingPeer(service.server.host, service.server.port) as peer:
            peer.exchange(serialize_get("/", "Connection: close"))
        slowest_s = max(slowest_s, time.monotonic() - asked_at)
    return slowest_s


def check_dump(run: Run, service: Service) -> None:
    """The log shows once where it was blocked."""
    log = service.server.log
    dumps = len(re.findall(r"event=blocked", log))
    run.check("reports of a blocked worker: 1", dumps, holds=dumps == 1)
    lines = service.folder.joinpath("app.py").read_text().splitlines()
    (wanted,) = [n for n, line in enumerate(lines, 1) if "time.sleep" in line]
    named = len(re.findall(rf'File ".*app\.py", line {wanted} in block', log))
    run.check("stack dumps that name the line: 1", named, holds=named == 1)
