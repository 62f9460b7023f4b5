"""A real server in a real process: started, watched, ended with the test.

Wraps pytest-xprocess once. What it adds: a start that fails at once (with the
log) when the process dies, the port from the banner, the exit status, and the
server's process group, by which an orphaned worker is still found.

xprocess ends the whole tree, leaves first. That would hide whether our master
stops its workers, so tests of an ending send the signal to the master
themselves (`LiveServer.signal`, `LiveServer.wait_exit`); the fixture's ending
only cleans up.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import psutil
from xprocess import ProcessStarter, XProcess

from blazeio_supervisor.master.upgrade.image import KEEPER_TITLE
from tests.support.clock import block_until, scaled
from tests.support.peer import BlockingPeer

REPOSITORY = Path(__file__).resolve().parents[2]
BANNER = r"://(?P<host>\[[^\]]+\]|[\w.]+):(?P<port>\d+)"
"""The address as servers print it; the first one in the log is ours."""
START_TIMEOUT_S = 20.0
EXIT_TIMEOUT_S = 20.0
GRACE_S = 3.0


class DiedEarlyError(AssertionError):
    """The process ended before it said that it was ready; holds its log."""


class LiveServer:
    """One started command. Made by the ``live_server`` fixture.

    Attributes:
        pid: Of the command itself: the master of a supervised app.
        log_path: Its standard output and error.
    """

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self._process = process
        self.pid = process.pid
        self.log_path = log_path

    @property
    def log(self) -> str:
        """All it has printed so far."""
        return self.log_path.read_text(errors="backslashreplace")

    @property
    def port(self) -> int:
        """The first port in its log."""
        return int(self._banner()["port"])

    @property
    def host(self) -> str:
        """The first host in its log, without brackets."""
        return self._banner()["host"].strip("[]")

    def connect(self, timeout_s: float = 20.0) -> BlockingPeer:
        """A new connection; use it in a ``with``."""
        return BlockingPeer(self.host, self.port, timeout_s=timeout_s)

    def exchange(self, octets: bytes) -> bytes:
        """One request on a connection of its own; the octets of the answer."""
        with self.connect() as peer:
            return peer.exchange(octets)

    def wait_for_log(
        self, pattern: str, *, count: int = 1, timeout_s: float = 20.0
    ) -> list[re.Match[str]]:
        """Wait until the log has ``count`` matches of a multi-line regex."""
        regex = re.compile(pattern, re.MULTILINE)
        try:
            block_until(
                lambda: len(list(regex.finditer(self.log))) >= count,
                timeout_s,
                f"{count} of {pattern!r} in the log",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; the log:\n{self.log}") from None
        return list(regex.finditer(self.log))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command only, not to its children."""
        self._process.send_signal(number)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_exit(self, timeout_s: float = EXIT_TIMEOUT_S) -> int:
        """Its exit status; minus the number of the signal that ended it."""
        try:
            return self._process.wait(scaled(timeout_s))
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still running after {scaled(timeout_s):g} s; the log:\n{self.log}"
            ) from None

    def end(self, grace_s: float) -> None:
        """Send TERM to the command and give it ``grace_s`` (scaled) to end."""
        self._process.terminate()
        try:
            self._process.wait(scaled(grace_s))
        except subprocess.TimeoutExpired:
            return  # what is left is killed by the fixture

    def children(self, title: str = "") -> list[psutil.Process]:
        """Living descendants whose command line contains ``title``, by pid.

        Not the one that keeps the image of a master: it ends soon after the start.
        """
        found = (_find(pid) for pid in _iterate_descendants(self.pid))
        return sorted(
            (
                each
                for each in found
                if each is not None
                and _has_title(each, title)
                and not _has_title(each, KEEPER_TITLE)
            ),
            key=lambda each: each.pid,
        )

    def group(self) -> list[psutil.Process]:
        """Every living process of its group: orphans too, itself too."""
        return [each for each in psutil.process_iter() if _is_in(each, self.pid)]

    def wait_group_gone(self, timeout_s: float = EXIT_TIMEOUT_S) -> None:
        """Wait until nothing that the command started is left."""
        block_until(
            lambda: not self.group(), timeout_s, f"processes of group {self.pid} gone"
        )

    def _banner(self) -> re.Match[str]:
        return self.wait_for_log(BANNER)[0]


class LiveServers:
    """Starts servers for one test and ends them after it.

    Args:
        xprocess: The session's.
        test_name: Makes the names unique: xprocess reuses what it finds.
    """

    def __init__(self, xprocess: XProcess, test_name: str) -> None:
        self._xprocess = xprocess
        self._test_name = re.sub(r"\W+", "-", test_name).strip("-")[:80]
        self._names: list[str] = []
        self._servers: list[LiveServer] = []

    def start(
        self,
        command: Sequence[str | Path],
        *,
        ready: str = BANNER,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        timeout_s: float = START_TIMEOUT_S,
    ) -> LiveServer:
        """Start a command and wait until a line of its log matches ``ready``.

        Args:
            command: Program and arguments; ``python`` and the programs that
                the environment under test installs may be given by bare name.
            ready: A regex.
            env: Added to this process's environment.
            cwd: Where it runs.
            timeout_s: For the start, scaled.

        Raises:
            DiedEarlyError: It ended before; the message has its log.
            TimeoutError: It neither ended nor got ready.
        """
        name = f"{self._test_name}-{os.getpid()}-{len(self._names)}"
        self._names.append(name)
        starter = _starter(resolve(command), ready, env or {}, cwd, scaled(timeout_s))
        try:
            self._xprocess.ensure(name, starter, persist_logs=False)
        finally:
            self._remember_last()
        return self._servers[-1]

    def end_all(self) -> None:
        """End every server with all that is left of it, and forget it.

        Raises:
            AssertionError: A server had ended by itself and left processes.
        """
        left = [(each, _left_behind(each)) for each in self._servers]
        for server in reversed(self._servers):
            self._end(server)
        for server, processes in left:
            assert not processes, f"{processes} outlived their master:\n{server.log}"

    def _end(self, server: LiveServer) -> None:
        resource = next(
            each for each in self._xprocess.resources if each.popen is server._process
        )
        server.end(GRACE_S)
        resource.info[0].terminate(timeout=scaled(5))
        for process in server.group():
            process.kill()
        server.wait_exit()
        self._xprocess.config._extlogfiles.pop(resource.info[0].name)
        resource.release()
        self._xprocess.resources.remove(resource)
        Path(resource.info[0].pidpath).unlink(missing_ok=True)

    def _remember_last(self) -> None:
        resource = self._xprocess.resources[-1]
        process = cast("subprocess.Popen[bytes]", resource.popen)
        self._servers.append(LiveServer(process, Path(resource.info[0].logpath)))


def run_to_exit(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = REPOSITORY,
    timeout_s: float = START_TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to end by itself; output is captured."""
    return subprocess.run(
        resolve(command),
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=scaled(timeout_s),
        capture_output=True,
        text=True,
        check=False,
    )


def resolve(command: Sequence[str | Path]) -> list[str]:
    """Put the programs of the environment under test first."""
    program, *arguments = map(str, command)
    if program == "python":
        return [sys.executable, *arguments]
    installed = Path(sys.executable).parent / program
    found = str(installed) if installed.exists() else shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"no such program: {program}")
    return [found, *arguments]


def _starter(
    command: list[str],
    ready: str,
    extra_env: Mapping[str, str],
    directory: Path,
    start_timeout_s: float,
) -> type[ProcessStarter]:
    class Starter(ProcessStarter):
        args = command
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **extra_env}  # noqa: RUF012
        popen_kwargs = {"cwd": str(directory)}  # noqa: RUF012
        terminate_on_interrupt = True

        def wait(self, log_file: Any) -> bool:
            process = self.process.resources[-1].popen
            path = Path(log_file.name)
            block_until(
                lambda: _is_ready(path, ready) or process.poll() is not None,
                start_timeout_s,
                f"{ready!r} in the log of {command}",
            )
            if not _is_ready(path, ready):
                log = path.read_text(errors="backslashreplace")
                status = process.returncode
                raise DiedEarlyError(f"{command} ended with {status}; its log:\n{log}")
            return True

    return Starter


def _is_ready(log_path: Path, ready: str) -> bool:
    log = log_path.read_text(errors="backslashreplace")
    return re.search(ready, log, re.MULTILINE) is not None


def _left_behind(server: LiveServer) -> list[psutil.Process]:
    if server.is_running():
        return []
    try:
        server.wait_group_gone(2)
    except AssertionError:
        return server.group()
    return []


def _iterate_descendants(pid: int) -> Iterator[int]:
    """As the kernel lists them: psutil reads every process of the machine.

    A tenth of its time with 100 processes, and it is asked while tests wait.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((task / "children").read_text() for task in tasks)
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in map(int, children.split()):
        yield child
        yield from _iterate_descendants(child)


def _find(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _has_title(process: psutil.Process, title: str) -> bool:
    try:
        return title in " ".join(process.cmdline()) and _is_living(process)
    except psutil.NoSuchProcess:
        return False


def _is_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and _is_living(process)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def _is_living(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)


def iterate_open_files() -> Iterator[str]:
    """What each descriptor of this process points to, by number."""
    for number in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            yield f"{number} -> {os.readlink(f'/proc/self/fd/{number}')}"
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
