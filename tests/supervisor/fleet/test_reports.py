"""What an operator reads of the lives of a service: each event, whole.

A sentence says what has happened, why, and what is next; programs go by the event, its
level, its reason, and of what it is told.
"""

import pytest

from blazeio_supervisor.fleet.actions import ReportStatus
from tests.supervisor.fleet.driver import only
from tests.supervisor.fleet.lives import LIVES

BOOTED = (
    "INFO ready (worker 1, slot 0, generation 1, pid 1001): the service is up: this "
    "worker is the first that serves"
)


def say(report: ReportStatus) -> str:
    """The level, the event, of what, the sentence, and the reason as one word."""
    facts = {
        "worker": report.worker,
        "slot": report.slot,
        "generation": report.generation,
        "pid": report.pid,
    }
    told = ", ".join(
        f"{key} {value}" for key, value in facts.items() if value is not None
    )
    whom = f" ({told})" if told else ""
    word = f" [{report.reason}]" if report.reason else ""
    return f"{report.level} {report.event}{whom}: {report.text}{word}"


REPORTS = {
    "a boot, and its end": [
        BOOTED,
        (
            "INFO stopping: asked for by SIGTERM: what is in flight has 30 s, "
            "then it is cut"
        ),
    ],
    "a worker dies again and again": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "killed by SIGSEGV; another one starts at once [SIGSEGV]"
        ),
        (
            "WARNING worker_failed (worker 2, slot 0, generation 1, pid 1002): "
            "killed by SIGSEGV; another one starts in 0.27 s [SIGSEGV]"
        ),
        (
            "WARNING worker_failed (worker 3, slot 0, generation 1, pid 1003): "
            "exit code 1; another one starts in 0.51 s [exit_1]"
        ),
        (
            "ERROR crash_loop (slot 0): 3 workers in a row died while they "
            "served, the last one: exit code 1; others are tried, with pauses "
            "of up to 30 s [serving]"
        ),
        (
            "WARNING worker_failed (worker 4, slot 0, generation 1, pid 1004): "
            "killed by SIGKILL; another one starts in 0.82 s [SIGKILL]"
        ),
        (
            "INFO recovered (worker 5, slot 0, generation 1, pid 1005): it has "
            "served for 10 s: its slot fails no more"
        ),
    ],
    "a worker does not get ready": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "killed by SIGKILL; another one starts at once [SIGKILL]"
        ),
        (
            "WARNING worker_failed (worker 2, slot 0, generation 1, pid 1002): "
            "killed by SIGKILL; another one starts in 0.27 s [SIGKILL]"
        ),
    ],
    "a reload": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for by SIGHUP",
        (
            "INFO reloaded: generation 2 serves in every slot; generation 1 is "
            "kept for 2 s at most, and comes back if this one fails"
        ),
    ],
    "a reload whose code does not import": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for by SIGHUP",
        (
            "ERROR reload_failed: generation 2 was not taken, 1 goes on: exit "
            "code 4: the app could not be imported"
        ),
    ],
    "a reload whose first worker dies": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "ERROR reload_failed: generation 2 was not taken, 1 goes on: "
            "worker=3 slot=0 gen=2 pid=1003: exit code 1: boom"
        ),
        (
            "WARNING worker_failed (worker 3, slot 0, generation 2, pid 1003): "
            "exit code 1: boom; the reload fails by it [exit_1]"
        ),
    ],
    "new code fails while it is held": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "INFO reloaded: generation 2 serves in every slot; generation 1 is "
            "kept for 2 s at most, and comes back if this one fails"
        ),
        (
            "ERROR rolling_back: generation 2 fails, going back to 1: worker=3 "
            "slot=0 gen=2 pid=1003: killed by SIGSEGV"
        ),
        (
            "WARNING worker_failed (worker 3, slot 0, generation 2, pid 1003): "
            "killed by SIGSEGV; the reload fails by it [SIGSEGV]"
        ),
    ],
    "a first boot fails": [
        (
            "ERROR boot_failed: the app did not start, so the service ends: "
            "exit code 4: the app could not be imported"
        ),
    ],
    "a first boot fails in a worker": [
        (
            "ERROR boot_failed: the app did not start, so the service ends: "
            "worker=1 slot=0 gen=1 pid=1001: exit code 3: the app failed to "
            "start"
        ),
    ],
    "a first boot in development waits": [
        (
            "ERROR boot_waits: exit code 4: the app could not be imported; "
            "waiting for a change of the code"
        ),
    ],
    "orders": [
        BOOTED,
        "INFO scaled: asked for by SIGTTIN: from 2 to 3 workers [asked]",
        "INFO scaled: asked for by pid 7: from 3 to 2 workers [asked]",
        (
            "INFO recycling (worker 1, slot 0, generation 1, pid 1001): asked "
            "for by pid 7: its successor starts, then it drains [asked]"
        ),
        (
            "WARNING recycle_refused: slot 9 is not in use: there is no worker "
            "to replace"
        ),
    ],
    "it is parked and comes back": [
        BOOTED,
        (
            "INFO parked: asked for by pid 7: the workers drain, connections "
            "wait until `resume` or HUP"
        ),
        "INFO resumed: asked for by pid 7: a worker starts in each slot",
        ("INFO reloading: loading generation 2: what forked the workers is gone"),
    ],
    "a worker is blocked for too long": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "its loop has stood still for 30.0 s (--timeout); another one "
            "starts at once [blocked]"
        ),
    ],
    "a worker is blocked for a while": [
        BOOTED,
        (
            "INFO unblocked (worker 1, slot 0, generation 1, pid 1001): its "
            "loop goes on, after 3.0 s"
        ),
    ],
    "workers are recycled by their age and requests": [
        BOOTED,
        (
            "INFO recycling (worker 1, slot 0, generation 1, pid 1001): served "
            "11 requests (--max-requests): its successor starts, then it drains"
            " [requests]"
        ),
    ],
    "a worker misbehaves": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "it misbehaved: it lies; another one starts at once [misbehaved]"
        ),
    ],
    "a forkserver misbehaves": [
        BOOTED,
        ("INFO reloading: loading generation 2: what forked the workers is gone"),
    ],
    "a stop that takes too long": [
        BOOTED,
        (
            "INFO stopping: asked for by SIGTERM: what is in flight has 30 s, "
            "then it is cut"
        ),
    ],
    "a quick stop during a reload": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "INFO stopping: asked for by SIGINT: what is in flight has 1 s, "
            "then it is cut"
        ),
    ],
    "the kernel has no memory left": [
        BOOTED,
        (
            "INFO stopping: the kernel has killed a worker: out of memory "
            "(--exit-on-oom): what is in flight has 30 s, then it is cut"
        ),
    ],
    "it leaves before it drains": [
        BOOTED,
        (
            "INFO leaving: asked for by SIGTERM: no longer ready, but it serves"
            " on for 5 s, then drains (a second TERM or `stop` ends the wait)"
        ),
        ("INFO stopping: the wait is over: what is in flight has 30 s, then it is cut"),
    ],
    "it is killed at once": [
        BOOTED,
        (
            "INFO stopping: asked for by SIGINT: what is in flight has 1 s, "
            "then it is cut"
        ),
        ("WARNING killing: asked for by SIGINT again: 2 workers killed at once"),
    ],
    "workers are recycled by their memory and age": [
        BOOTED,
        (
            "INFO recycling (worker 1, slot 0, generation 1, pid 1001): uses 2 "
            "MiB (--max-memory): its successor starts, then it drains [memory]"
        ),
        (
            "INFO recycling (worker 2, slot 0, generation 1, pid 1002): uses 3 "
            "MiB (--max-memory): its successor starts, then it drains [memory]"
        ),
    ],
    "a worker grows old": [
        BOOTED,
        (
            "INFO recycling (worker 1, slot 0, generation 1, pid 1001): served "
            "for 10 s (--max-lifetime): its successor starts, then it drains "
            "[lifetime]"
        ),
    ],
    "the machine stood still": [
        BOOTED,
        (
            "WARNING machine_late: 2 of 2 workers are late at once: the machine"
            " is overloaded, or all wait for the same; none is replaced for it "
            "yet"
        ),
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "its loop has stood still for 60.0 s (--timeout); another one "
            "starts at once [blocked]"
        ),
        (
            "WARNING worker_failed (worker 2, slot 1, generation 1, pid 1002): "
            "its loop has stood still for 60.0 s (--timeout); another one "
            "starts at once [blocked]"
        ),
    ],
    "a reload is given up by time": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "ERROR reload_failed: generation 2 was not taken, 1 goes on: not "
            "ready within 60 s (--boot-timeout); event=boot_slow says where"
        ),
    ],
    "new code is taken back whole": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "INFO reloaded: generation 2 serves in every slot; generation 1 is "
            "kept for 2 s at most, and comes back if this one fails"
        ),
        (
            "ERROR rolling_back: generation 2 fails, going back to 1: worker=3 "
            "slot=0 gen=2 pid=1003: killed by SIGSEGV"
        ),
        (
            "WARNING worker_failed (worker 3, slot 0, generation 2, pid 1003): "
            "killed by SIGSEGV; the reload fails by it [SIGSEGV]"
        ),
        (
            "ERROR rolled_back: generation 2 was taken back, 1 serves: worker=3"
            " slot=0 gen=2 pid=1003: killed by SIGSEGV; rolled back"
        ),
    ],
    "more workers than may be": [
        BOOTED,
        ("WARNING scale_limited: asked for by pid 7: 9 workers; 4 is the most"),
        "INFO scaled: asked for by pid 7: from 2 to 4 workers [asked]",
        ("WARNING scale_limited: asked for by pid 7: -5 workers; 1 is the least"),
        "INFO scaled: asked for by pid 7: from 4 to 1 worker [asked]",
    ],
    "parking during a reload": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "INFO parking: asked for by pid 7: it begins when the start or the "
            "reload under way is over"
        ),
        (
            "ERROR reload_failed: generation 2 was not taken, 1 goes on: exit "
            "code 4: the app could not be imported"
        ),
        (
            "INFO parked: asked for by pid 7: the workers drain, connections "
            "wait until `resume` or HUP"
        ),
    ],
    "a reload while it is parked": [
        BOOTED,
        (
            "INFO parked: asked for: the workers drain, connections wait until "
            "`resume` or HUP"
        ),
        "INFO resumed: asked for by SIGHUP: a worker starts in each slot",
        "INFO reloading: loading generation 2: asked for by SIGHUP",
    ],
    "crash loop at boot": [
        BOOTED,
        (
            "WARNING worker_failed (worker 2, slot 1, generation 1, pid 1002): "
            "killed by SIGSEGV; another one starts at once [SIGSEGV]"
        ),
        (
            "WARNING worker_failed (worker 3, slot 1, generation 1, pid 1003): "
            "exit code 3: the app failed to start; another one starts in 0.21 s"
            " [exit_3]"
        ),
        (
            "WARNING worker_failed (worker 4, slot 1, generation 1, pid 1004): "
            "exit code 3: the app failed to start; another one starts in 0.47 s"
            " [exit_3]"
        ),
        (
            "ERROR crash_loop (slot 1): 3 workers in a row have failed, 2 "
            "before it was ready and 1 while serving, the last one: exit code "
            "3: the app failed to start; others are tried, with pauses of up to"
            " 30 s [mixed]"
        ),
        (
            "WARNING worker_failed (worker 5, slot 1, generation 1, pid 1005): "
            "exit code 3: the app failed to start; another one starts in 1.00 s"
            " [exit_3]"
        ),
        (
            "WARNING worker_failed (worker 6, slot 1, generation 1, pid 1006): "
            "exit code 3: the app failed to start; another one starts in 1.95 s"
            " [exit_3]"
        ),
    ],
}


@pytest.mark.parametrize("name", LIVES)
def test_each_event_is_told_whole(name: str) -> None:
    driver = LIVES[name]()
    assert [say(each) for each in only(ReportStatus, driver.log)] == REPORTS[name]
