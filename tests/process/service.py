"""A small app and its supervisor, as real processes."""

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from blazeio_supervisor.cli.client import ControlClient
from blazeio_supervisor.ipc.control_api import STATUS
from blazeio_supervisor.ipc.socket_paths import SocketPath
from tests.support.clock import block_until
from tests.support.live import LiveServer, LiveServers
from tests.support.response import Response, parse_responses

APP = """
import asyncio, os, time
import blazeio as io

web = io.App("127.0.0.1", 0)

@web.add_route
async def pid(r, route="/"):
    await io.Deliver.text(r, str(os.getpid()))

@web.add_route
async def echo(r, route="/echo"):
    r.reply(await r.read())

@web.add_route
async def slow(r, route="/slow"):
    await asyncio.sleep(float(r.query or 0.4))
    await io.Deliver.text(r, "late")

@web.add_route
async def block(r, route="/block"):
    time.sleep(1.0)
    await io.Deliver.text(r, "late")

@web.add_route
async def fail(r, route="/fail"):
    raise RuntimeError("a fault of the app")

def make():
    return web

if __name__ == "__main__":
    web.runner()
"""
TITLE = re.compile(r"blazeio: worker (?P<slot>\d+) gen (?P<generation>\d+) \[.*\]")


def change(code: str, old: str, new: str) -> str:
    """Give code with something else in it; what is to be replaced must be there."""
    assert old in code, old
    return code.replace(old, new)


def serialize_get(path: str = "/", *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]
    return "\r\n".join(lines).encode()


class Service:
    """One supervised app.

    Attributes:
        server: The master.
        folder: Where the app lies, ``app.py``.
    """

    def __init__(self, server: LiveServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def get(self, path: str = "/", *fields: str) -> Response:
        """One request on a connection of its own."""
        octets = self.server.exchange(serialize_get(path, "Connection: close", *fields))
        (response,) = parse_responses(octets)
        return response

    def workers(self) -> dict[int, tuple[int, int]]:
        """Generation and pid of the youngest worker of each slot."""
        found: dict[int, tuple[int, int]] = {}
        for process in self.server.children("blazeio: worker"):
            title = TITLE.match(read_title(process))
            if title is not None:
                generation = int(title["generation"])
                slot = int(title["slot"])
                found[slot] = max(found.get(slot, (0, 0)), (generation, process.pid))
        return found

    def pids(self) -> list[int]:
        return sorted(pid for _, pid in self.workers().values())

    def wait_kept(self) -> None:
        """Wait until the master has its image, and imports nothing from the disk."""
        fds = Path(f"/proc/{self.server.pid}/fd")

        def is_kept() -> bool:
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                links = [os.readlink(fd) for fd in fds.iterdir()]
                return any("memfd:blazeio-image" in link for link in links)
            return False

        block_until(is_kept, reason="the image of the master")

    def wait_everybody_answers(self) -> None:
        """Wait until each worker has answered; a late one is left out at times.

        One that has just been replaced may be the first to answer.
        """
        answered: set[int] = set()

        def have_all_answered() -> bool:
            answered.add(int(self.get().body))
            return answered >= set(self.pids())

        try:
            block_until(have_all_answered, 10)
        except AssertionError as error:
            seen = f"{answered} of {self.pids()}"
            raise AssertionError(f"{error}: {seen}\n{self.server.log}") from None

    def wait_for(
        self,
        are_wanted: Callable[[dict[int, tuple[int, int]]], bool],
        what: str,
        timeout_s: float = 10.0,
    ) -> None:
        try:
            block_until(lambda: are_wanted(self.workers()), timeout_s, what)
        except AssertionError as error:
            seen = [read_title(each) for each in self.server.children()]
            raise AssertionError(f"{error}: {seen}\n{self.server.log}") from None

    def wait_count(self, count: int) -> None:
        """Wait until there are so many slots with a worker, and no other worker."""

        def are_so_many(workers: dict[int, tuple[int, int]]) -> bool:
            living = self.server.children("blazeio: worker")
            return len(workers) == count == len(living)

        self.wait_for(are_so_many, f"{count} workers")

    def reload(self, generation: int) -> None:
        """HUP, and wait until this generation is in every slot."""
        self.server.signal(signal.SIGHUP)
        self.server.wait_for_log(
            rf"event=reloaded generation {generation} ", timeout_s=20
        )


def read_status(service: Service) -> Any:
    """As ``status --json`` shows it, of one that listens at ``c.sock``.

    Asked by this process: the verb is one of its own, and waits ask again and again.
    """
    place = SocketPath(str(service.folder / "c.sock"))
    answer = ControlClient(place, os.geteuid()).ask(STATUS)
    return json.loads(msgspec.json.encode(answer))


def read_title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()  # of the rest of the old line
    except psutil.NoSuchProcess:
        return ""


def start_service(
    live_server: LiveServers,
    folder: Path,
    *options: str,
    app: str = "app:web",
    code: str = APP,
    workers: int | str = 2,
    env: Mapping[str, str] | None = None,
    wrap: Callable[..., list[str]] | None = None,
) -> Service:
    """Start it, and wait until every worker is there.

    Args:
        wrap: Makes the words of a command that runs the given words.
    """
    (folder / "app.py").write_text(code)
    command = ["blazeio-supervisor", app, "--workers", str(workers)]
    shorter = ["--canary-hold", "0", "--drain-idle", "0.2"]
    words = [*command, *shorter, *options]
    words = words if wrap is None else wrap(*words)
    server = live_server.start(words, cwd=folder, env=env)
    service = Service(server, folder)
    count = int(str(workers).partition("..")[0])
    service.wait_count(count)
    # One that boots yet is ended by a TERM, and answers nothing.
    server.wait_for_log("event=worker_ready ", count=count)
    return service
