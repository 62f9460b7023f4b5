"""One document, followed from its top to its end in a folder of its own.

A block with a title is a file. Of a ``console`` block each command is typed into a
shell, and what it prints is compared with what is shown. A command that serves goes on
until the next one that serves, or the end of the page. The ports that documents name
are replaced by free ones; the control socket is in the folder, so that a verb finds
the service of its page.

A ``Newcomer`` follows it on a machine of their own, and skips nothing: the ports are
those that are named, and what is installed is installed.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from blazeio_supervisor.cli.verbs import list_verbs
from tests.documents.blocks import Block, Command, iterate_commands
from tests.support.clock import block_until, scaled

PORT = re.compile(r"(?<![\w.])(8[0-9]{3}|9[0-9]{3})(?![\w.])")
"""The ports that documents name."""
COMMAND_TIMEOUT_S = 60.0
SERVE = "blazeio-supervisor app:web --bind 127.0.0.1:8000 --workers 2"
"""Runs before the first verb of a document that does not say what serves."""
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ASK_NOBODY = ("check", "unit", "doctor", "serve", "completion")
_ENDS_AT_ONCE = ("--help", "-h", "--version", "--print-config", "--sample")
NAMED_CLONE = "/path/to/the/clone"
"""What documents call the folder of this repository."""
_AGAIN = "export -p > {state}; declare -p PWD >> {state}"


@dataclass(frozen=True)
class Newcomer:
    """Somebody whose machine has nothing but what a document asks for.

    Attributes:
        clone: Of this repository.
        has_terminal: Whether commands are typed in one.
    """

    clone: Path
    has_terminal: bool = False


class PageRun:
    """What the reader of one document has: a folder, a shell, a service.

    Args:
        folder: Empty; where the reader works.
        newcomer: None: the environment and the ports are those of the tests.
    """

    def __init__(self, folder: Path, newcomer: Newcomer | None = None) -> None:
        self._folder = folder
        self._newcomer = newcomer
        self._ports: dict[str, str] = {}
        self._state = folder.parent / f"{folder.name}.state"
        self._code = 0
        self._service: subprocess.Popen[bytes] | None = None
        self._log = folder.parent / f"{folder.name}.log"
        own = dict(os.environ) if newcomer else self._make_environ()
        self._state.write_text(
            "".join(f"export {name}={shlex.quote(own[name])}\n" for name in own)
            + f"PWD={shlex.quote(str(folder))}\n"
        )

    def _make_environ(self) -> dict[str, str]:
        control = self._folder.parent / f"{self._folder.name}.run"
        control.mkdir(mode=0o700)
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            "BROWSER": "true",
            "RUNTIME_DIRECTORY": str(control),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def write(self, block: Block) -> None:
        """Write the file that a block is."""
        assert block.title is not None
        path = self._folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._put_ports(block.text))

    def follow(self, block: Block, skipped: tuple[str, ...]) -> None:
        """Type the commands of a block; compare what they print.

        Raises:
            AssertionError: One fails, or prints something else than is shown.
        """
        for command in iterate_commands(block):
            if not command.typed.startswith(skipped):
                self._type(command)

    def end(self) -> None:
        """End what still serves, as ^C does."""
        if self._service is not None:
            if self._service.stdin is None:
                self._service.send_signal(signal.SIGINT)
            elif self._service.poll() is None:
                self._service.stdin.write(b"\x03")
                self._service.stdin.flush()
            try:
                self._service.wait(scaled(COMMAND_TIMEOUT_S))
            finally:
                self._service.kill()
            self._service = None

    def _type(self, command: Command) -> None:
        typed = self._put_ports(command.typed)
        if _serves(typed):
            self._serve(typed)
            return
        is_served = self._service is not None and self._service.poll() is None
        if not is_served and _asks(typed):
            self._serve(self._put_ports(SERVE))
        if _goes_on(typed):
            self._look(typed)
            return
        state = shlex.quote(str(self._state))
        before = f'source {state}; cd "$PWD"; (exit {self._code})'
        after = f"code=$?; {_AGAIN.format(state=state)}; exit $code"
        done = subprocess.run(
            self._in_shell(f"{before}\n{typed}\n{after}"),
            env={},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=scaled(COMMAND_TIMEOUT_S),
            check=False,
        )
        told = self._take_ports(done.stdout.decode(errors="backslashreplace"))
        told = show_as_terminal(told)
        whole = f"$ {command.typed}\n{told}"
        if self._log.exists():
            whole += f"\n-- the service:\n{self._log.read_text()}"
        is_failure_shown = "blazeio-supervisor: " in command.shown or (
            "doctor" in typed and done.returncode == 1  # it has found something
        )
        assert done.returncode == 0 or is_failure_shown, f"{done.returncode}: {whole}"
        if command.shown:
            assert matches(command.shown, told), f"shown:\n{command.shown}\n\n{whole}"
        self._code = done.returncode

    def _serve(self, typed: str) -> None:
        self.end()
        state = shlex.quote(str(self._state))
        with self._log.open("wb") as log:
            self._service = service = subprocess.Popen(
                self._in_shell(f'source {state}; cd "$PWD"\nexec {typed}'),
                env={},
                cwd=self._folder,
                stdin=subprocess.PIPE if self._has_terminal() else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        block_until(
            lambda: service.poll() is not None or self._is_ready(),
            COMMAND_TIMEOUT_S,
            f"{typed} to serve",
        )
        assert service.poll() is None, f"$ {typed}\n{self._log.read_text()}"

    def _look(self, typed: str) -> None:
        """Run what goes on until ^C, until it has printed something."""
        state = shlex.quote(str(self._state))
        told = self._log.with_suffix(".told")
        with told.open("wb") as output:
            process = subprocess.Popen(
                self._in_shell(f'source {state}; cd "$PWD"\nexec {typed}'),
                env={},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            block_until(lambda: told.stat().st_size > 0, COMMAND_TIMEOUT_S, typed)
            process.send_signal(signal.SIGINT)
            process.wait(scaled(COMMAND_TIMEOUT_S))
        finally:
            process.kill()

    def _has_terminal(self) -> bool:
        return self._newcomer is not None and self._newcomer.has_terminal

    def _in_shell(self, script: str) -> list[str]:
        words = ["bash", "-c", script]
        if not self._has_terminal():
            return words
        in_terminal = ["script", "--quiet", "--return", "--flush", "--command"]
        return [*in_terminal, shlex.join(words), "/dev/null"]

    def _is_ready(self) -> bool:
        log = show_as_terminal(self._log.read_text(errors="backslashreplace"))
        supervised = re.search(r"event=listening .*: (\d+) worker", log)
        if supervised:
            return log.count("event=worker_ready") >= int(supervised[1])
        if "event=" in log:
            return "event=ready" in log
        return "://" in log

    def _put_ports(self, text: str) -> str:
        if self._newcomer is not None:
            return text.replace(NAMED_CLONE, str(self._newcomer.clone))
        return PORT.sub(lambda found: self._find_port(found[1]), text)

    def _find_port(self, named: str) -> str:
        if named not in self._ports:
            with socket.socket() as one:
                one.bind(("127.0.0.1", 0))
                self._ports[named] = str(one.getsockname()[1])
        return self._ports[named]

    def _take_ports(self, text: str) -> str:
        for named, port in self._ports.items():
            text = text.replace(port, named)
        # Another service on this machine may have the name of the app.
        return re.sub(r"(app\S*)-\d+ \(\1\)", r"\1", text)


def matches(shown: str, told: str) -> bool:
    """Tell whether a text is what is shown.

    ``...`` stands for anything. Numbers, times and sizes may be others: a pid, a
    duration; blanks at the ends of lines and between words count for nothing.
    """
    parts = [re.escape(_simplify(part)) for part in shown.split("...")]
    pattern = rf"\s*{'.*?'.join(parts)}\s*"
    return re.fullmatch(pattern, _simplify(told), re.DOTALL) is not None


def show_as_terminal(told: str) -> str:
    """Return what is left to see: lines that are written over are not."""
    lines = _CONTROLS.sub("", told).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip().rsplit("\r", 1)[-1] for line in lines)


def _simplify(text: str) -> str:
    text = re.sub(r"\d+(?:[.,:]\d+)*k?", "0", text)
    text = re.sub(
        r"\b0 (?:ms|s|min|m|h|d|MiB|KiB|GiB)(?: 0 (?:s|m|h|min))?\b", "0", text
    )
    text = re.sub(
        r"(?<=\s)-(?=\s)", "0", text
    )  # a cell of a table that is not known yet
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[ \t]+", " ", text)).strip(" ")


def _goes_on(typed: str) -> bool:
    words = shlex.split(typed, comments=True)
    return words[0] == "blazeio-supervisor" and any(
        word in ("--follow", "--watch", "top", "dashboard") for word in words
    )


def _asks(typed: str) -> bool:
    """Tell whether it is a verb that needs a service."""
    words = shlex.split(typed, comments=True)
    if words[:1] != ["blazeio-supervisor"] or words[1:2] == []:
        return False
    if words[1] not in list_verbs():
        return False
    return words[1] not in _ASK_NOBODY and not {*words}.intersection(_ENDS_AT_ONCE)


def _serves(typed: str) -> bool:
    words = shlex.split(typed, comments=True)
    if words[:1] == ["python"]:
        return len(words) == 2 and words[1].endswith(".py")
    if words[:1] != ["blazeio-supervisor"] or "|" in words:
        return False
    is_verb = words[1:] and words[1] != "serve" and words[1] in list_verbs()
    return not is_verb and not any(word in _ENDS_AT_ONCE for word in words)
