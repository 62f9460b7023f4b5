"""The metrics beside what strict clients have counted."""

import os
import random
import re
import signal

from tests.process.service import Service
from tests.process.strict_clients import StrictClients
from tests.soak.changes import reload_times
from tests.soak.run import Run, order, wait_some
from tests.support.clock import block_until

CLIENTS = 48
SETTLE_S = 20.0
SAMPLE = r'^blazeio_requests_total\{status="2xx"\} (\S+)$'


def count_requests(run: Run) -> None:
    """3 reloads, then 3 kill -9: the metrics say what the clients have seen."""
    reloads, kills = run.pick(3, 1), run.pick(3, 1)
    with run.serve() as service:
        with _clients(service) as clients:
            wait_some(run.pick(3.0, 1.0))
            done = reload_times(run, service, reloads)
            wait_some(run.pick(3.0, 1.0))
        answered = clients.answered.total()
        settle(service, answered)
        counted = read_answered(service)
        run.check(
            f"after {done} reloads: counted - answered = 0",
            counted - answered,
            holds=counted == answered and done == reloads,
        )
        run.check(
            "failed requests = 0", len(clients.failures), holds=not clients.failures
        )
        with _clients(service) as clients:
            for number in range(kills):
                run.say(f"kill {number + 1} of {kills}")
                wait_some(run.pick(2.0, 0.5))
                os.kill(random.choice(service.pids()), signal.SIGKILL)
                service.wait_count(4)
            wait_some(run.pick(2.0, 0.5))
        answered += clients.answered.total()
        died = len(clients.failures)
        settle(service, answered - died)
        counted = read_answered(service)
        run.check(
            f"after {kills} kills: |counted - answered| <= {died} that died in flight",
            counted - answered,
            holds=abs(counted - answered) <= died,
        )


def _clients(service: Service) -> StrictClients:
    return StrictClients(service.server.host, service.server.port, CLIENTS)


def settle(service: Service, least: int) -> None:
    """Wait for the last turns; the text is made at most once a second."""
    block_until(lambda: read_answered(service) >= least, SETTLE_S, f"{least} counted")


def read_answered(service: Service) -> int:
    """The good answers, as the verb says."""
    text = order(service, "metrics").stdout
    (value,) = re.findall(
        r'^blazeio_requests_total\{status="2xx"\} (\S+)$', text, re.MULTILINE
    )
    return round(float(value))
