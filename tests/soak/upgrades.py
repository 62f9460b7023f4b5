"""The master's own code is replaced under load, or fails to be."""

import signal

from tests.process.installation import IN_EARNEST, Installation
from tests.process.service import Service
from tests.soak.run import LogTail, Run, order, wait_some
from tests.soak.traffic import traffic

TIMEOUT_S = 60.0
REST_S = 0.5
UPGRADE_TIMEOUT = ("--upgrade-timeout", "5")
RAISE = f"{IN_EARNEST}    raise ImportError('gone again')\n"
HANG = f"""{IN_EARNEST}    import time
    while True:
        try: time.sleep(600)
        except BaseException: pass
"""


def upgrade_five_times(run: Run) -> None:
    """USR2 after USR2; a reload and a respawn by each new code."""
    count = run.pick(5, 2)
    with run.serve() as service, traffic(run, service):
        pid, before = service.server.pid, service.workers()
        done = 0
        for number in range(count):
            run.say(f"upgrade {number + 1} of {count}")
            done += upgrade(service)
            wait_some(REST_S)
        run.check("every upgrade succeeds", done, holds=done == count)
        is_same = service.server.pid == pid and service.workers() == before
        run.check("same pid, same workers", is_same, holds=is_same)
        reloaded = order(service, "reload", "--wait")
        run.check("then a reload works", reloaded.stdout, holds=not reloaded.returncode)


def upgrade(service: Service) -> bool:
    """One USR2; whether the new code has taken over."""
    tail = LogTail(service.server.log_path)
    service.server.signal(signal.SIGUSR2)
    words = "event=upgraded", "event=upgrade_failed"
    line = tail.wait_for(*words, timeout_s=TIMEOUT_S)
    tail.close()
    return "event=upgraded" in line


def upgrade_onto_broken_code(run: Run) -> None:
    """Code that fails in the rehearsal, and code that fails only in earnest."""
    installed = Installation(run.folder / "site")
    with (
        run.serve(*UPGRADE_TIMEOUT, env=installed.env) as service,
        traffic(run, service),
    ):
        service.wait_kept()  # files that change sooner are of no image
        for code, reason in (
            ("raise ImportError('half installed')\n", "half installed"),
            ("import time\ntime.sleep(600)\n", "did not begin within"),
            (RAISE, "gone again"),
            (HANG, "did not begin within"),
        ):
            run.say(reason)
            refuse(run, service, installed, code, reason)
        done = order(service, "upgrade")
        run.check("good code then comes in", done.stdout, holds=not done.returncode)


def refuse(
    run: Run, service: Service, installed: Installation, code: str, reason: str
) -> None:
    """One upgrade that must come to nothing."""
    before = service.workers()
    installed.append("master/master.py", code)
    done = order(service, "upgrade")
    installed.mend()
    is_refused = done.returncode == 1 and reason in done.stderr
    run.check(f"refused: {reason}", done.stderr.strip()[-110:], holds=is_refused)
    is_same = service.workers() == before
    run.check("the old workers are untouched", is_same, holds=is_same)
