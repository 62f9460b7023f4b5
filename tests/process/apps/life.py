"""What every app of the table goes through, and what must hold on the way.

Started, loaded, one worker killed, loaded, reloaded, loaded, stopped: each answer
is right, no request fails but those of the killed worker, nothing is left.
"""

import re
import signal
import threading
import time
from pathlib import Path

import psutil

from tests.process.apps.row import BASE, Row
from tests.process.service import Service, serialize_get
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, resolve
from tests.support.peer import BlockingPeer
from tests.support.response import Response, parse_responses

WORKERS = 2
CLIENTS = 3
REQUESTS = 6
"""Of each client, in each load; every second one on a connection of its own."""
STOP_S = 8.0
"""For the end of a service that has nothing in flight, of a grace of 30 s."""


def live_through(live_server: LiveServers, folder: Path, row: Row) -> None:
    """Take one app through it."""
    service = start(live_server, folder, row)
    seen = note_all(service)
    load(service)
    ask_others(service, row)
    seen |= note_all(service)
    kill_one(service)
    load(service)
    seen |= note_all(service)
    service.reload(2)
    load(service)
    seen |= note_all(service)
    peer = occupy(service, row.last)
    began_at = time.monotonic()
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit(30) == row.exit_code, service.server.log
    took_s = time.monotonic() - began_at
    peer.close()
    assert took_s < scaled(STOP_S), f"{took_s:.1f} s\n{service.server.log}"
    block_until(lambda: not list_living(seen), 5, "the end of all its processes")
    check_log(service.server.log, row)


def start(live_server: LiveServers, folder: Path, row: Row) -> Service:
    (folder / "app.py").write_text(BASE + row.code)
    for name, content in row.files.items():
        (folder / name).write_text(content)
    words = ["blazeio-supervisor", row.app, "--workers", str(WORKERS)]
    quick = ["--canary-hold", "0", "--drain-idle", "0.2", *row.options]
    command = [*words, *quick]
    if row.prefix:
        command = [*row.prefix, *resolve(command)]
    server = live_server.start(command, cwd=folder, env=row.env, timeout_s=20)
    service = Service(server, folder)
    service.wait_count(WORKERS)
    server.wait_for_log("event=worker_ready ", count=WORKERS, timeout_s=20)
    return service


def load(service: Service) -> None:
    """Ask from several clients at once; each answer is that of its question."""
    failures: list[str] = []

    def ask_all(client: int) -> None:
        kept = service.server.connect(10)
        try:
            for count in range(REQUESTS):
                number = 100 * client + count
                if count % 2:
                    with service.server.connect(10) as alone:
                        ask(alone, number, "Connection: close")
                elif ask(kept, number).field("connection") == "close":
                    kept.close()  # by a worker that is just being replaced
                    kept = service.server.connect(10)
        except (AssertionError, OSError) as error:
            failures.append(f"client {client}: {error!r}")
        finally:
            kept.close()

    clients = [threading.Thread(target=ask_all, args=(n,)) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not failures, f"{failures}\n{service.server.log}"


def ask(peer: BlockingPeer, number: int, *fields: str) -> Response:
    """Ask for a square, which must be right."""
    octets = peer.exchange(serialize_get(f"/answer?{number}", *fields))
    (response,) = parse_responses(octets)
    wanted = (200, str(number * number).encode())
    assert (response.status, response.body) == wanted, f"{number}: {response}"
    return response


def ask_others(service: Service, row: Row) -> None:
    """Ask what only this app has, once of each worker or so."""
    for path, status in row.asks * WORKERS:
        with service.server.connect(10) as peer:
            octets = peer.exchange(serialize_get(path, "Connection: close"))
            (response,) = parse_responses(octets)
            assert response.status == status, f"{path}: {response}"
    if row.failures:
        service.wait_count(WORKERS)
        load(service)


def occupy(service: Service, path: str) -> BlockingPeer:
    """A connection, with a request in flight if there is a path."""
    peer = service.server.connect(10)
    if path:
        peer.send(serialize_get(path))
        service.server.wait_for_log(r"\bbegun\b")
    return peer


def kill_one(service: Service) -> None:
    """Kill the worker of the first slot; another one takes its place."""
    ready = service.server.log.count("event=worker_ready ")
    _, victim = service.workers()[0]
    psutil.Process(victim).kill()
    service.wait_for(
        lambda workers: len(workers) == WORKERS and workers[0][1] != victim,
        "a worker in the place of the killed one",
    )
    service.server.wait_for_log("event=worker_ready ", count=ready + 1, timeout_s=20)


def note_all(service: Service) -> set[psutil.Process]:
    """All processes of the service that live now."""
    return set(service.server.children())


def list_living(processes: set[psutil.Process]) -> list[str]:
    """Those that still run, in words."""
    return [str(each) for each in processes if is_living(each)]


def is_living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_log(log: str, row: Row) -> None:
    """Look for what it should say, and for what nobody should."""
    assert ("event=fork_unsafe" not in log) == row.is_shared, log
    for pattern in row.says:
        assert re.search(pattern, log), f"{pattern}\n{log}"
    strange = ("Traceback", "event=worker_killed", "event=threads_cut", "event=blocked")
    unwanted = {*strange, *row.never_says} - {*row.may_say}
    for pattern in unwanted:
        assert not re.search(pattern, log), f"{pattern}\n{log}"
    failed = re.findall(r"event=worker_failed.*", log)
    assert len(failed) == 1 + row.failures, log  # one that we have killed
    assert "event=stopped all of the service has ended" in log, log
