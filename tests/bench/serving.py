"""One server process tree, pinned to a core, with its CPU time and memory."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.contestants import Contestant
from tests.support.clock import block_until
from tests.support.http2 import OPENING, SETTINGS

START_TIMEOUT_S = 15.0
END_TIMEOUT_S = 10.0
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


class DidNotServeError(Exception):
    """The server did not come up; holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers.

    Attributes:
        pid: The root of its process tree.
        port: On 127.0.0.1.
        folder: Its own, for files.
        is_tls: Whether it speaks TLS there.
    """

    pid: int
    port: int
    folder: Path
    is_tls: bool = False

    def cpu_s(self) -> float:
        """CPU seconds of the living tree so far, to the nanosecond."""
        return sum(_read_cpu_ns(each.pid) for each in self._tree()) / 1e9

    def pss_bytes(self) -> int:
        """Memory of the tree, shared pages counted once."""
        return sum(each.memory_full_info().pss for each in self._tree())

    def rss_bytes(self) -> int:
        """Resident memory of the tree, shared pages counted in each process."""
        return sum(each.memory_info().rss for each in self._tree())

    def reset_peak_bytes(self) -> int:
        """Forget the peaks so far; the resident memory now."""
        for each in self._tree():
            Path(f"/proc/{each.pid}/clear_refs").write_text("5")  # proc(5)
        return self.rss_bytes()

    def peak_bytes(self) -> int:
        """Peaks of resident memory since the reset, summed over the tree."""
        return sum(_read_peak(each.pid) for each in self._tree())

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]


@contextlib.contextmanager
def serving(contestant: Contestant, core: int) -> Iterator[Served]:
    """Start a contestant on ``core``; it and all its children end with the block.

    Raises:
        DidNotServeError: It ended, or did not answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, port = Path(name), _unused_port()
        command = contestant.command(port, folder)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        try:
            _wait_until_it_serves(process, port, folder / "log", contestant)
            yield Served(process.pid, port, folder, contestant.is_tls)
        finally:
            _end(process)


def connect(port: int, timeout_s: float, *, is_tls: bool = False) -> socket.socket:
    """Connect to a server; whose certificate is not checked."""
    sock = socket.create_connection(("127.0.0.1", port), timeout_s)
    if not is_tls:
        return sock
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def fetch(port: int) -> bytes:
    """The response to one GET / on a connection of its own."""
    with connect(port, 5) as sock:
        sock.sendall(REQUEST)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def _wait_until_it_serves(
    process: subprocess.Popen[bytes], port: int, log_path: Path, contestant: Contestant
) -> None:
    def answers() -> bool:
        try:
            with connect(port, 5, is_tls=contestant.is_tls) as sock:
                sock.sendall(OPENING if contestant.is_http2 else REQUEST)
                octets = sock.recv(65536)
                is_settings = contestant.is_http2 and octets[3:4] == bytes((SETTINGS,))
                is_answered = is_settings or octets.startswith(b"HTTP/1.1 ")
            return is_answered or process.poll() is not None
        except OSError:
            return process.poll() is not None

    try:
        block_until(answers, START_TIMEOUT_S, "it serves")
    except AssertionError as error:
        raise DidNotServeError(f"{error}\n{_tail(log_path)}") from None
    if process.poll() is not None:
        raise DidNotServeError(f"exit {process.returncode}\n{_tail(log_path)}")


def _read_cpu_ns(pid: int) -> int:
    """Return the CPU time of all threads of a process that live.

    The ticks of ``/proc/PID/stat`` are 10 ms: 1 % of a round of a second.
    """
    spent_ns = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has ended just now
            spent_ns += int(path.read_text().split()[0])  # proc(5)
    return spent_ns


def _read_peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _tail(log_path: Path) -> str:
    return "\n".join(log_path.read_text(errors="replace").splitlines()[-12:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
