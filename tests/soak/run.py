"""What a scenario is given: sizes, a place, and somebody to tell what it saw."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.process.service import Service
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServer, resolve, run_to_exit

Count = TypeVar("Count", int, float)

APP = Path(__file__).with_name("apps") / "site.py"
END_TIMEOUT_S = 40.0
READY = "event=ready "
PROGRAM = "blazeio-supervisor"
CONTROL = ("--control", "control")
"""A socket in the folder of the service."""
VERB_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant.

    Attributes:
        scenario: Where it was checked.
        what: It, in words, with its bound.
        seen: What was seen.
        holds: Whether that is within the bound.
    """

    scenario: str
    what: str
    seen: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that happens to a service, and what must hold meanwhile.

    Attributes:
        name: As ``--only`` takes it.
        what: One line for ``--list``.
        act: Does it.
    """

    name: str
    what: str
    act: Callable[["Run"], None]


class Run:
    """One run of one scenario.

    Args:
        scenario: Its name.
        folder: For its files; kept when an invariant fails.
        is_short: Small numbers.

    Attributes:
        checks: What was checked so far.
        folder: As given.
    """

    def __init__(self, scenario: str, folder: Path, *, is_short: bool) -> None:
        self._scenario = scenario
        self._is_short = is_short
        self._services = 0
        self.folder = folder
        self.checks: list[Check] = []

    def pick(self, full: Count, short: Count) -> Count:
        """How often, or how long: as asked for."""
        return short if self._is_short else full

    def check(self, what: str, seen: object, *, holds: bool) -> None:
        """Record an invariant."""
        self.checks.append(Check(self._scenario, what, str(seen), holds))

    def check_most(self, what: str, seen: float, most: float, unit: str = "") -> None:
        """Record an invariant of a figure that has an upper bound."""
        text = f"{seen:.3f}".rstrip("0").rstrip(".")
        self.check(f"{what} <= {most:g}{unit}", f"{text}{unit}", holds=seen <= most)

    def note(self, text: str) -> None:
        """A detail of a failure: into a file of the folder, and shown."""
        with (self.folder / "notes").open("a") as notes:
            notes.write(f"{text}\n")
        print(f"\r{self._scenario}: {text}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Progress, on a terminal only."""
        if sys.stderr.isatty():
            print(f"\r{self._scenario}: {text:60}", end="", file=sys.stderr)

    @contextlib.contextmanager
    def serve(
        self,
        *options: str,
        code: str | None = None,
        workers: int | str = 4,
        env: Mapping[str, str] | None = None,
        wrap: Callable[..., list[str]] | None = None,
    ) -> Iterator[Service]:
        """A supervised app; with its master ends whatever it has left behind.

        Args:
            wrap: Makes the words of a command that runs the given words.
        """
        self._services += 1
        folder = self.folder / f"service-{self._services}"
        folder.mkdir()
        (folder / "app.py").write_text(APP.read_text() if code is None else code)
        command = [PROGRAM, "app:web", "--workers", str(workers), *CONTROL, *options]
        log_path = folder / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                resolve(command) if wrap is None else wrap(*command),
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        service = Service(LiveServer(process, log_path), folder)
        try:
            service.server.wait_for_log(READY, timeout_s=30)
            service.wait_count(int(str(workers).partition("..")[0]))
            yield service
        finally:
            end(process, service)


def order(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    """Ask or order something by a verb, as an operator does."""
    command = [PROGRAM, *words, *CONTROL]
    return run_to_exit(command, cwd=service.folder, timeout_s=VERB_TIMEOUT_S)


def end(process: subprocess.Popen[bytes], service: Service) -> None:
    """End a service as an operator does; by KILL what outlasts that."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(scaled(END_TIMEOUT_S))
    for each in service.server.group():
        each.kill()
    process.wait()


class LogTail:
    """A log that is read once, however often one asks.

    Args:
        path: Of the log.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open(errors="backslashreplace")
        self._file.seek(0, 2)
        self._partial = ""

    def lines(self) -> Iterator[str]:
        """Whole lines that have come since the last call."""
        *whole, self._partial = (self._partial + self._file.read()).split("\n")
        yield from whole

    def wait_for(self, *words: str, timeout_s: float) -> str:
        """The next line that holds one of these words; those before are gone."""
        found: list[str] = []

        def is_set() -> bool:
            found.extend(
                line for line in self.lines() if any(each in line for each in words)
            )
            return bool(found)

        block_until(is_set, timeout_s, f"one of {words} in the log")
        return found[0]

    def close(self) -> None:
        self._file.close()


def wait_some(span_s: float) -> None:
    """Let the clients go on for a while."""
    until = time.monotonic() + span_s
    block_until(lambda: time.monotonic() >= until, span_s + 1)
