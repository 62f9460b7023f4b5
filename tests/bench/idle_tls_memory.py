"""What one idle TLS connection costs: ``python -m tests.bench.idle_tls_memory``.

On both loops, with our TLS and with the loop's own. Each connection has had one
request answered, with some content if asked for; then the growth of the
server's resident memory is divided by their number.
"""

import argparse
import contextlib
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tests.bench.idle_memory import close_all, raise_descriptor_limit
from tests.support.live import REPOSITORY
from tests.support.tls_peer import NAME, Certificates

APP = Path(__file__).with_name("apps") / "tls_hello.py"
WARM_UP_COUNT = 100


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--content-bytes", type=int, default=0)
    options = parser.parse_args(arguments)
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        certificates = Certificates(Path(folder))
        context = certificates.client_context()
        certfile = certificates.issue(NAME)
        for loop in ("uvloop", "asyncio"):
            for layer in ("blazeio", "loop"):
                with serving(loop, layer, certfile) as (process, port):
                    client = Client(port, context, options.content_bytes)
                    each_bytes = measure(process, client, options.connections)
                print(f"{loop}, TLS of {layer}: {each_bytes / 1024:.1f} KB each")


@contextlib.contextmanager
def serving(
    loop: str, layer: str, certfile: Path
) -> Iterator[tuple[psutil.Process, int]]:
    """A server process and its port."""
    command = [sys.executable, str(APP), loop, layer, str(certfile)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout is not None
        try:
            yield psutil.Process(process.pid), int(process.stdout.readline())
        finally:
            process.kill()


class Client:
    """Makes connections that each have had one answer."""

    def __init__(self, port: int, context: ssl.SSLContext, content_bytes: int) -> None:
        self._port = port
        self._context = context
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {content_bytes}\r\n\r\n"
        self._request = head.encode() + bytes(content_bytes)

    def open_idle(self, count: int) -> list[socket.socket]:
        return [self._open() for _ in range(count)]

    def _open(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self._port), 10)
        sock = self._context.wrap_socket(plain, server_hostname=NAME)
        sock.sendall(self._request)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        return sock


def measure(process: psutil.Process, client: Client, count: int) -> float:
    """Resident octets for each of ``count`` connections."""
    warm = client.open_idle(WARM_UP_COUNT)
    before_bytes = process.memory_info().rss
    held = client.open_idle(count)
    grown_bytes = process.memory_info().rss - before_bytes
    close_all(warm + held)
    return float(grown_bytes / count)


if __name__ == "__main__":
    main()
