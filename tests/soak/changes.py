"""Workers come and go under load: reloads, kills, recycling, scaling."""

import random
import signal

from tests.process.service import Service
from tests.soak.run import LogTail, Run, order, wait_some
from tests.soak.traffic import Deaths, traffic
from tests.support.clock import block_until

RELOAD_TIMEOUT_S = 60.0
REST_S = 0.3
"""Between two changes; the clients ask meanwhile."""


def reload_fifty_times(run: Run) -> None:
    """HUP after HUP."""
    with run.serve() as service, traffic(run, service):
        done = reload_times(run, service, run.pick(50, 3))
        run.check("every reload succeeds", done, holds=done == run.pick(50, 3))


def reload_times(run: Run, service: Service, count: int) -> int:
    """So many HUPs, each waited for; how many succeeded."""
    tail = LogTail(service.server.log_path)
    done = 0
    for number in range(count):
        run.say(f"reload {number + 1} of {count}")
        service.server.signal(signal.SIGHUP)
        line = tail.wait_for(
            "event=reloaded", "event=reload_failed", timeout_s=RELOAD_TIMEOUT_S
        )
        done += "event=reloaded" in line
    tail.close()
    return done


def kill_workers(run: Run) -> None:
    """kill -9 of a random worker, again and again."""
    deaths = Deaths()
    count = run.pick(20, 4)
    with run.serve() as service, traffic(run, service, deaths):
        for number in range(count):
            run.say(f"kill {number + 1} of {count}")
            wait_some(REST_S)
            deaths.kill(random.choice(service.pids()))
            service.wait_count(4)


def recycle_by_verb(run: Run) -> None:
    """Slot after slot gets a new worker of the same code."""
    count = run.pick(20, 3)
    with run.serve() as service, traffic(run, service):
        for number in range(count):
            run.say(f"{number + 1} of {count}")
            slot = number % 4
            before = service.workers()[slot]
            done = order(service, "recycle", str(slot))
            assert not done.returncode, done.stderr
            service.wait_for(
                lambda found: found[slot] != before,  # noqa: B023
                f"another worker in slot {slot}",
                RELOAD_TIMEOUT_S,
            )


def recycle_by_requests(run: Run) -> None:
    """Workers are replaced after so many requests."""
    count = run.pick(20, 3)
    seen: set[int] = set()
    with run.serve("--max-requests", "200") as service, traffic(run, service):

        def are_so_many_gone() -> bool:
            seen.update(service.pids())
            run.say(f"{len(seen) - 4} of {count} recycled")
            return len(seen) - 4 >= count

        block_until(are_so_many_gone, 10.0 * count, f"{count} workers recycled")


def scale_up_and_down(run: Run) -> None:
    """4 -> 8 -> 2 -> 4 workers."""
    count = run.pick(10, 2)
    with run.serve() as service, traffic(run, service):
        for number in range(count):
            for workers in (8, 2, 4):
                run.say(f"round {number + 1} of {count}: {workers} workers")
                done = order(service, "scale", str(workers))
                assert not done.returncode, done.stderr
                service.wait_for(
                    lambda found: len(found) == workers,  # noqa: B023
                    f"{workers} workers",
                    RELOAD_TIMEOUT_S,
                )
                wait_some(REST_S)
