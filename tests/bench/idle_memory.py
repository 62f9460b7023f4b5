"""What one idle keep-alive connection costs: ``python -m tests.bench.idle_memory``.

Each connection has had one request answered, as a real one has; then the
growth of the server's resident memory is divided by their number.
"""

import argparse
import json
import resource
import socket
import sys
from collections.abc import Sequence

from tests.bench.contestants import CONTESTANTS, OURS
from tests.bench.serving import DidNotServeError, Served, serving

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
WARM_UP_COUNT = 200


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [each.name for each in CONTESTANTS]
    parser.add_argument("--connections", type=int, default=4000)
    parser.add_argument("--only", default=OURS[0], choices=names)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    raise_descriptor_limit()
    (contestant,) = [each for each in CONTESTANTS if each.name == options.only]
    try:
        with serving(contestant, core=0) as served:
            each_bytes = measure(served, options.connections)
    except DidNotServeError as error:
        sys.exit(f"{options.only} did not serve: {error}")
    if options.json:
        print(json.dumps({"name": options.only, "bytes_per_connection": each_bytes}))
    else:
        print(f"{options.only}: {each_bytes / 1024:.2f} KB an idle connection")


def measure(served: Served, count: int) -> float:
    """Resident bytes for each of ``count`` connections."""
    close_all(open_idle(served.port, WARM_UP_COUNT))
    before_bytes = served.rss_bytes()
    held = open_idle(served.port, count)
    grown_bytes = served.rss_bytes() - before_bytes
    close_all(held)
    return grown_bytes / count


def open_idle(port: int, count: int) -> list[socket.socket]:
    """Connections that each have had one answer."""
    held = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), 5)
        sock.sendall(REQUEST)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        held.append(sock)
    return held


def close_all(held: list[socket.socket]) -> None:
    for sock in held:
        sock.close()


def raise_descriptor_limit() -> None:
    """As many descriptors as the hard limit allows, for us and the server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
