"""Servers of the test, where the verbs look for a service."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from blazeio_supervisor.cli.client import ControlClient
from blazeio_supervisor.ipc.control_api import (
    ServiceAnswer,
)
from blazeio_supervisor.ipc.socket_paths import SocketPath

UID = os.geteuid()


def answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def read_target(sock: socket.socket) -> str:
    """Read a whole request; gives its target, "" when nothing was asked."""
    head, content = b"", b""
    while octets := sock.recv(65536):
        head, _, content = (head + octets).partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if len(content) == (int(length[1]) if length else 0):
            return head.split()[1].decode()
        head += b"\r\n\r\n" + content
    return ""


@contextmanager
def served(place: SocketPath, octets: bytes) -> Iterator[ControlClient]:
    """Answers every connection with the same octets."""
    with answered(place, lambda target: octets) as client:
        yield client


@contextmanager
def answered(
    place: SocketPath, write: Callable[[str], bytes]
) -> Iterator[ControlClient]:
    """Answers each target with what is written for it, then cuts the connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.address)
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    target = read_target(sock)
                    if target:
                        sock.sendall(write(target))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield ControlClient(place, UID)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def describe(pid: int, name: str = "app:web") -> bytes:
    """What a service says of itself."""
    where = ["http://127.0.0.1:1"]
    service = ServiceAnswer(pid=pid, name=name, app="app:web", addresses=where)
    return answer(msgspec.json.encode(service))


LISTEN = """
import os, socket, sys
if os.geteuid() == 0:
    os.setresuid(4242, 4242, 4242)
with socket.socket(socket.AF_UNIX) as sock:
    sock.bind(chr(0) + sys.argv[1])
    sock.listen()
    print("listening", flush=True)
    sys.stdin.read()
"""


@contextmanager
def stranger(place: SocketPath) -> Iterator[None]:
    """Somebody who listens there; another user, if this one is root."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, place.text[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        yield
