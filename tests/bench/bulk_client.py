"""A client that moves one large body over one connection, as fast as it can."""

import socket
import time

from tests.bench.serving import connect

CHUNK_BYTES = 64 * 1024
STEP_BYTES = 1024 * 1024
TIMEOUT_S = 120.0


class WrongCountError(Exception):
    """The server did not see, or did not send, what was asked for."""


def upload(port: int, size: int) -> float:
    """POST so many octets with a Content-Length, 64 KiB at a time; seconds.

    With 1 MiB at a time it is the client that is measured: its copying takes
    longer than the server's, and all servers come out within 1.1x.
    """
    head = f"POST /count HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n\r\n"
    step = bytes(CHUNK_BYTES)
    return _send_and_have_counted(port, head, step, CHUNK_BYTES, b"", size)


def upload_chunked(port: int, size: int) -> float:
    """The same in chunks of 64 KiB; seconds."""
    head = "POST /count HTTP/1.1\r\nHost: bench\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (CHUNK_BYTES, bytes(CHUNK_BYTES))
    step = chunk * (STEP_BYTES // CHUNK_BYTES)
    return _send_and_have_counted(port, head, step, STEP_BYTES, b"0\r\n\r\n", size)


def download(port: int, size: int) -> float:
    """GET so many octets; seconds."""
    return fetch_whole(port, f"/send?{size}", size)


def fetch_whole(port: int, target: str, size: int, *, is_tls: bool = False) -> float:
    """GET what is so large; seconds."""
    with connect(port, TIMEOUT_S, is_tls=is_tls) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        began_at = time.perf_counter()
        head = b""
        while b"\r\n\r\n" not in head:
            head += _receive(sock)
        received = len(head.partition(b"\r\n\r\n")[2])
        buffer = bytearray(STEP_BYTES)
        while received < size:
            # dropped in the kernel: it is the server that is measured
            flags = 0 if is_tls else socket.MSG_TRUNC
            count = sock.recv_into(buffer, STEP_BYTES, flags)
            if not count:
                raise WrongCountError(f"it ended after {received} of {size} octets")
            received += count
        return time.perf_counter() - began_at


def _send_and_have_counted(
    port: int, head: str, step: bytes, step_content_bytes: int, last: bytes, size: int
) -> float:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as sock:
        began_at = time.perf_counter()
        sock.sendall(head.encode())
        for _ in range(size // step_content_bytes):
            sock.sendall(step)
        sock.sendall(last)
        answer = b""
        while not answer.endswith(b"%d" % size):
            answer += _receive(sock)
        return time.perf_counter() - began_at


def _receive(sock: socket.socket) -> bytes:
    octets = sock.recv(65536)
    if not octets:
        raise WrongCountError("it ended before its answer was whole")
    return octets
