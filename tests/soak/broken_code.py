"""Reloads onto code that must not replace what serves."""

import signal
from dataclasses import dataclass

from tests.process.service import Service
from tests.soak.run import APP, LogTail, Run
from tests.soak.traffic import traffic
from tests.support.clock import scaled

BOOT_TIMEOUT_S = 3.0
HOOK = "\n\n@web.on_start\nasync def hook():\n    "


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
        f"{HOOK}io.loop.call_later(1.0, os._exit, 9)\n",
        "exit code 9",
    ),
    Breakage("answers its health path with 500", "\nHEALTH = 500\n", "500"),
)


def reload_onto_broken_code(run: Run) -> None:
    """Each breakage; the old workers go on as they are."""
    boot_timeout = ("--boot-timeout", f"{scaled(BOOT_TIMEOUT_S):g}")
    health_path = ("--health-path", "/health")
    with run.serve(*boot_timeout, *health_path) as service, traffic(run, service):
        for breakage in BREAKAGES:
            run.say(breakage.name)
            refuse(run, service, breakage)
        mend(run, service)


def refuse(run: Run, service: Service, breakage: Breakage) -> None:
    """One failed reload."""
    before = service.workers()
    (service.folder / "app.py").write_text(APP.read_text() + breakage.code)
    tail = LogTail(service.server.log_path)
    service.server.signal(signal.SIGHUP)
    line = tail.wait_for("event=reloaded", "event=reload_failed", timeout_s=30)
    tail.close()
    service.wait_count(len(before))
    has_reason = "event=reload_failed" in line and breakage.reason in line
    run.check(f"code that {breakage.name}: refused", line[-120:], holds=has_reason)
    is_same = service.workers() == before
    run.check("the old pids are untouched", is_same, holds=is_same)


def mend(run: Run, service: Service) -> None:
    """Good code comes in after all that."""
    (service.folder / "app.py").write_text(APP.read_text())
    tail = LogTail(service.server.log_path)
    service.server.signal(signal.SIGHUP)
    line = tail.wait_for("event=reloaded", "event=reload_failed", timeout_s=30)
    tail.close()
    has_reloaded = "event=reloaded" in line
    run.check("good code then comes in", line[-120:], holds=has_reloaded)
