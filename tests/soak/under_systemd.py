"""A unit under a real systemd, with 48 strict clients: reloads, then restarts."""

import socket

from tests.process.service import APP
from tests.process.strict_clients import Failure, StrictClients
from tests.soak.run import Run, wait_some
from tests.systemd.machine import Machine, Unit, why_not

REST_S = 0.3
SETTINGS = ("workers = 4", "canary_hold = 0")
EARLY_S = 1.0  # idle connections are kept for longer than this (drain_idle)


def change_unit(run: Run) -> None:
    """``systemctl reload`` and ``restart``: store, and ``.socket`` unit."""
    if why_not():
        run.say(why_not())
        return
    run.folder.chmod(0o755)
    run.folder.parent.chmod(0o755)
    with Machine("soak", run.folder, net="host") as machine:
        for name in ("store", "socket"):
            port = find_port()
            bind = (f'bind = ["127.0.0.1:{port}"]',) if name == "store" else ()
            unit = machine.add_app(name, APP, *SETTINGS, *bind)
            if name == "socket":
                lines = f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n"
                machine.add_drop_in(f"blazeio@{name}.socket", "listen.conf", lines)
                machine.systemctl("start", f"blazeio@{name}.socket")
            unit.systemctl("start")
            for verb in ("reload", "restart"):
                repeat(run, unit, verb, port)
            unit.systemctl("stop")


def find_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def repeat(run: Run, unit: Unit, verb: str, port: int) -> None:
    count = run.pick(10, 2)
    with StrictClients("127.0.0.1", port, early_s=EARLY_S) as clients:
        wait_some(REST_S)
        for number in range(count):
            run.say(f"{unit.instance}: {verb} {number + 1} of {count}")
            unit.systemctl(verb)
            wait_some(REST_S)
    answered = sum(clients.answered.values())
    what = f"{unit.instance}: {count} times {verb}: no failure"
    seen = describe(clients.failures) or f"{answered} answered"
    run.check(what, seen, holds=not clients.failures and answered > 0)


def describe(failures: list[Failure]) -> str:
    return "; ".join(map(str, failures[:5])) + f" ({len(failures)})" * bool(failures)
