"""CPU per echoed message: ``python -m tests.bench.websocket_echo``.

Messages of 64 octets of text, one in flight on each of 32 connections: frames
made beforehand, over plain sockets, so that the load is cheaper than what is
measured. Server and load share a core: the server then always finds several
messages, and is not charged for waking another core, which costs more than an
echo; only its own CPU time counts. The rounds take turns, so that a busy machine
hits all; the median counts. ``loop and kernel`` is uvloop with a
protocol that answers by constant octets: what no server on it can go below.
"""

import argparse
import os
import select
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from websockets.frames import Frame, Opcode

from tests.bench.contestants import APPS, Command, Contestant, program
from tests.bench.serving import Served, serving

CORE = 1
CONNECTIONS = 32
MESSAGE = b"x" * 64
SENT = Frame(Opcode.TEXT, MESSAGE).serialize(mask=True)
ECHOED = Frame(Opcode.TEXT, MESSAGE).serialize(mask=False)
TIMEOUT_S = 5.0
HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class WrongEchoError(Exception):
    """The server did not send back what it got."""


def _python(app: str, *arguments: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        return [sys.executable, str(APPS / app), str(port), *arguments]

    return command


def _uvicorn(port: int, folder: Path) -> list[str]:
    command = [program("uvicorn"), "asgi_echo:app", "--app-dir", str(APPS)]
    where = ["--host", "127.0.0.1", "--port", str(port), "--lifespan", "off"]
    how = ["--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio"]
    plain = ["--ws-per-message-deflate", "false", "--log-level", "critical"]
    return [*command, *where, *how, *plain, "--no-access-log"]


CONTESTANTS = (
    Contestant("loop and kernel", "uvloop", _python("floor_echo.py")),
    Contestant("blazeio", "blazeio", _python("blazeio_echo.py")),
    Contestant("uvicorn", "uvicorn", _uvicorn),
)


@contextmanager
def connections(port: int) -> Iterator[dict[int, socket.socket]]:
    """Those over which WebSocket is spoken, by descriptor."""
    with ExitStack() as stack:
        socks: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
            stack.enter_context(sock)
            sock.sendall(HANDSHAKE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(4096)
            if b" 101 " not in head:
                raise WrongEchoError(head.decode("latin-1"))
            socks[sock.fileno()] = sock
        yield socks


def echo_for(socks: dict[int, socket.socket], span_s: float) -> int:
    """Keep one message in flight on each; how many came back."""
    poll = select.epoll()
    for fd in socks:
        poll.register(fd, select.EPOLLIN)
        os.write(fd, SENT)
    count, waiting = 0, len(socks)
    ends_at = time.monotonic() + span_s
    while waiting:
        is_over = time.monotonic() > ends_at
        ready = poll.poll(TIMEOUT_S)
        if not ready:
            raise WrongEchoError("an echo is missing")
        for fd, _ in ready:
            if os.read(fd, 4096) != ECHOED:
                raise WrongEchoError("something else came back")
            if is_over:
                waiting -= 1
            else:
                os.write(fd, SENT)
        count += len(ready)
    poll.close()
    return count


def us_per_message(served: Served, span_s: float) -> float:
    """CPU of the server for one, microseconds."""
    with connections(served.port) as socks:
        echo_for(socks, span_s / 10)  # warm
        before_s = served.cpu_s()
        count = echo_for(socks, span_s)
        return (served.cpu_s() - before_s) * 1e6 / count


def main() -> None:
    """Measure all, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=float, default=2, help="seconds of each")
    options = parser.parse_args()
    with ExitStack() as stack:
        served = {
            each.name: stack.enter_context(serving(each, CORE))
            for each in CONTESTANTS
            if each.is_installed()
        }
        os.sched_setaffinity(0, {CORE})
        spans: dict[str, list[float]] = {name: [] for name in served}
        for _ in range(options.rounds):
            for name, server in served.items():
                spans[name].append(us_per_message(server, options.duration))
    last = statistics.median(list(spans.values())[-1])
    print(f"{'64 octets, CPU us a message':28} {'median':>8} {'least':>8} {'ratio':>8}")
    for name, each in spans.items():
        middle = statistics.median(each)
        print(f"{name:28} {middle:8.2f} {min(each):8.2f} {middle / last:8.2f}")


if __name__ == "__main__":
    main()
