"""An app whose objects refer to each other, which only Python's collector frees."""

import psutil

from tests.process.service import Service
from tests.process.strict_clients import StrictClients
from tests.soak.run import APP, Run, wait_some

MIB = 1024 * 1024
CLIENTS = 24
LOOK_EVERY_S = 0.25
MOST_ABOVE_START_MIB = 128.0
"""The collector lets the process grow by a quarter, at least by 16 MiB, before it
collects all; what came meanwhile is on top."""
MOST_GROWTH_MIB = 16.0
CYCLES = """

@web.add_route
async def before_middleware(r: R) -> None:
    node: list[object] = [b"x" * (64 * 1024 + len(r.path))]
    node.append(node)
"""
"""Of the app: each request leaves 64 KiB in a cycle."""


def leave_cycles(run: Run) -> None:
    """10 minutes of requests that each leave a cycle of 64 KiB."""
    looks = run.pick(2400, 160)
    code = APP.read_text() + CYCLES
    with run.serve(code=code, workers=1) as service:
        before = look(service)
        host, port = service.server.host, service.server.port
        with StrictClients(host, port, CLIENTS) as clients:
            seen = []
            for number in range(looks):
                run.say(f"look {number + 1} of {looks}")
                wait_some(LOOK_EVERY_S)
                seen.append(look(service))
        answered = clients.answered.total()
    early, late = max(seen[: looks // 2]), max(seen[looks // 2 :])
    unit = " MiB"
    left_mib = answered * 64 / 1024
    run.check(
        "what was left would have been noticed",
        f"{left_mib:.0f}{unit} in {answered} requests",
        holds=left_mib > 2 * MOST_ABOVE_START_MIB,
    )
    run.check("failed requests = 0", len(clients.failures), holds=not clients.failures)
    peak = max(seen) - before
    run.check_most("the worker is above its start", peak, MOST_ABOVE_START_MIB, unit)
    run.check_most(
        "its peak grows in the second half", late - early, MOST_GROWTH_MIB, unit
    )


def look(service: Service) -> float:
    """Memory of the one worker, USS, MiB."""
    (pid,) = service.pids()
    uss: int = psutil.Process(pid).memory_full_info().uss
    return uss / MIB
