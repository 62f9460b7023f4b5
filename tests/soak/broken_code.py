"""Reloads onto code that must not replace what serves."""

import time
from dataclasses import dataclass

from tests.process.service import Service
from tests.soak.run import APP, Run, order
from tests.soak.traffic import Deaths, traffic
from tests.support.clock import scaled

BOOT_TIMEOUT_S = 3.0
HOOK = "\n\n@web.on_start\nasync def hook():\n    "
DIE = """

def die():
    import psutil
    held = psutil.Process().net_connections("tcp")
    ports = [str(each.raddr.port) for each in held if each.raddr]
    open("died", "w").write(" ".join(ports))
    os._exit(9)
"""
"""Tells whom it takes along: what it has accepted is its own to lose."""


@dataclass(frozen=True, slots=True)
class Breakage:
    """One way in which code is broken.

    Attributes:
        name: In the report.
        code: Appended to the app.
        reason: Words that the log must hold.
    """

    name: str
    code: str
    reason: str


BREAKAGES = (
    Breakage("raises at import", "\n1 / 0\n", "ZeroDivisionError"),
    Breakage("raises in on_start", f"{HOOK}raise OSError('no db')\n", "no db"),
    Breakage("is never ready", f"{HOOK}await asyncio.sleep(600)\n", "not ready within"),
    Breakage(
        "dies 1 s after ready",
        f"{DIE}{HOOK}io.loop.call_later(1.0, die)\n",
        "exit code 9",
    ),
    Breakage("answers its health path with 500", "\nHEALTH = 500\n", "500"),
)


def reload_onto_broken_code(run: Run) -> None:
    """Each breakage; the old workers go on as they are."""
    boot_timeout = ("--boot-timeout", f"{scaled(BOOT_TIMEOUT_S):g}")
    health_path = ("--health-path", "/health")
    deaths = Deaths()
    with (
        run.serve(*boot_timeout, *health_path) as service,
        traffic(run, service, deaths),
    ):
        for breakage in BREAKAGES:
            run.say(breakage.name)
            refuse(run, service, breakage)
            note_death(service, deaths)
        mend(run, service)


def refuse(run: Run, service: Service, breakage: Breakage) -> None:
    """One failed reload."""
    before = service.workers()
    (service.folder / "app.py").write_text(APP.read_text() + breakage.code)
    done = order(service, "reload", "--wait")
    service.wait_count(len(before))
    has_reason = done.returncode != 0 and breakage.reason in done.stderr
    seen = f"exit {done.returncode}, {last_line(done.stderr)}"
    run.check(f"code that {breakage.name}: refused", seen, holds=has_reason)
    is_same = service.workers() == before
    run.check("the old pids are untouched", is_same, holds=is_same)


def note_death(service: Service, deaths: Deaths) -> None:
    """What a worker that ended itself had accepted."""
    place = service.folder / "died"
    if place.exists():
        ports = map(int, place.read_text().split())
        died_at = time.monotonic() - (time.time() - place.stat().st_mtime)
        deaths.add(died_at, ports)
        place.unlink()


def mend(run: Run, service: Service) -> None:
    """Good code comes in after all that."""
    (service.folder / "app.py").write_text(APP.read_text())
    done = order(service, "reload", "--wait")
    seen = f"exit {done.returncode}, {last_line(done.stdout)}"
    run.check("good code then comes in", seen, holds=not done.returncode)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][-110:]
