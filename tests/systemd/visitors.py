"""Visitors from inside a machine, each on a connection of its own, never retrying.

    python -m tests.systemd.visitors 127.0.0.1:8000

They come until standard input ends, and then once more. Prints a line when the first
one has come, and one of JSON in the end: answers by process, and failures.
"""

import json
import select
import socket
import sys
import time
from collections import Counter

PAUSE_S = 0.005
PATIENCE_S = 20.0
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def visit(address: tuple[str, int]) -> str:
    """One request; the content of its answer."""
    with socket.create_connection(address, PATIENCE_S) as sock:
        sock.sendall(REQUEST)
        octets = b""
        while more := sock.recv(65536):
            octets += more
    head, _, content = octets.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"answered {octets[:60]!r}")
    return content.decode()


def main(place: str) -> None:
    host, _, port = place.rpartition(":")
    answers: Counter[str] = Counter()
    failures: list[str] = []
    longest_s = 0.0
    is_last = False
    while not is_last:
        is_last = bool(select.select([sys.stdin], [], [], PAUSE_S)[0])
        began_at = time.monotonic()
        try:
            answers[visit((host, int(port)))] += 1
        except OSError as error:
            failures.append(f"{type(error).__name__}: {error}")
        if not longest_s:
            print("here", flush=True)
        longest_s = max(longest_s, time.monotonic() - began_at)
    said = {"answers": answers, "failures": failures, "longest_s": longest_s}
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
