"""What the operator asked for: read once, checked, never changed.

The only place that reads the environment.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.observe.logs import LEVELS
from blazeio_supervisor.process.app_path import AppPath, is_app_path, parse_app_path
from blazeio_supervisor.process.cpus import count_cpus
from blazeio_supervisor.process.messages import LoopName
from blazeio_supervisor.sockets.address import (
    Address,
    TcpAddress,
    UnixAddress,
    parse_address,
)

AUTO = "auto"
WORKER_LIMIT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One service. Spans are seconds.

    Attributes:
        app: What to serve.
        workers: How many at first.
        binds: Where to listen; empty: where the App itself says.
        folder: Where the service was started, as typed: a symbolic link in it
            is followed anew at each reload.
        app_dir: What is put in front of the import path.
        loop: ``uvloop`` or ``asyncio``.
        graceful_timeout_s: A draining worker has this long.
        boot_timeout_s: A starting worker has this long to get ready.
        timeout_s: A worker whose loop is blocked for this long is killed.
        canary_hold_s: At a reload the first new worker serves this long before
            an old one is touched, and the last one before the old code is
            given up.
        drain_idle_s: While draining, an idle connection is kept this long.
        log_level: The least level that is printed.
    """

    app: AppPath
    workers: int
    binds: tuple[Address, ...]
    folder: str
    app_dir: str
    loop: LoopName = "uvloop"
    graceful_timeout_s: float = 30.0
    boot_timeout_s: float = 60.0
    timeout_s: float = 30.0
    canary_hold_s: float = 2.0
    drain_idle_s: float = 2.0
    log_level: str = "INFO"

    def make_policy(self) -> Policy:
        """Give the planner its share."""
        return Policy(
            boot_timeout_s=self.boot_timeout_s,
            grace_s=self.graceful_timeout_s,
            timeout_s=self.timeout_s,
            canary_hold_s=self.canary_hold_s,
            hold_s=self.canary_hold_s,
            worker_limit=WORKER_LIMIT,
            is_shared_listener=bool(self.binds)
            and all(isinstance(bind, UnixAddress) for bind in self.binds),
        )

    def make_rng(self) -> random.Random:
        """Give the planner its jitter: another one on each machine."""
        return random.Random()


def read_app(word: str) -> AppPath:
    """Read the APP argument.

    Raises:
        UsageError: It is none; says what to write instead.
    """
    if not is_app_path(word):
        raise UsageError(f"{word!r} is neither an APP nor a verb: {_suggest_app(word)}")
    try:
        return parse_app_path(word)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _suggest_app(word: str) -> str:
    if all(part.isidentifier() for part in word.split(".")):
        return f"did you mean `{word}:web`?"
    return "write `module:attribute` or `script.py`"


def read_workers(text: str) -> int:
    """Read ``--workers``: a number, or ``auto`` for one per usable core.

    Raises:
        UsageError: It is neither, or out of bounds.
    """
    if text == AUTO:
        return min(count_cpus(), WORKER_LIMIT)
    if not text.isdecimal() or not 1 <= int(text) <= WORKER_LIMIT:
        raise UsageError(
            f"--workers {text}: expected 1 to {WORKER_LIMIT}, or auto "
            "(one per usable core)"
        )
    return int(text)


def read_binds(texts: Sequence[str]) -> tuple[Address, ...]:
    """Read every ``--bind``.

    Raises:
        UsageError: One cannot be read, or is there twice.
    """
    binds: list[Address] = []
    for text in texts:
        try:
            address = parse_address(text)
        except ValueError as error:
            raise UsageError(f"--bind {error}") from None
        picks_port = isinstance(address, TcpAddress) and address.port == 0
        if address in binds and not picks_port:
            raise UsageError(f"--bind {text}: given twice")
        binds.append(address)
    return tuple(binds)


def read_span(option: str, value: float, least: float) -> float:
    """Check a span of time.

    Raises:
        UsageError: It is too short, or no number at all.
    """
    if not least <= value <= 86_400.0:
        raise UsageError(f"{option} {value:g}: expected {least:g} to 86400 seconds")
    return value


def read_loop(value: str) -> LoopName:
    """Read ``--loop``.

    Raises:
        UsageError: It is none.
    """
    for name in get_args(LoopName):
        if name == value:
            return cast("LoopName", name)
    raise UsageError(f"--loop {value}: expected uvloop or asyncio")


def read_log_level(value: str) -> str:
    """Read ``--log-level``, in any case.

    Raises:
        UsageError: It is none.
    """
    if value.upper() not in LEVELS:
        names = ", ".join(LEVELS).lower()
        raise UsageError(f"--log-level {value}: expected one of {names}")
    return value.upper()


def find_folder() -> str:
    """Give the working directory as it was typed.

    The shell's ``$PWD`` still names the link ``/srv/app/current`` where
    ``getcwd`` only knows the release that it pointed to.

    Raises:
        UsageError: Neither exists.
    """
    typed = os.environ.get("PWD", "")
    try:
        if typed and os.path.samefile(typed, "."):
            return typed
    except OSError:
        pass  # an old $PWD that exists no more
    try:
        return os.getcwd()
    except OSError:
        raise UsageError("the working directory does not exist any more") from None


def find_app_dir(folder: str, given: str) -> str:
    """Give the folder that is made importable.

    Raises:
        UsageError: There is no such folder.
    """
    path = os.path.join(folder, given)
    if not os.path.isdir(path):
        raise UsageError(f"--app-dir {given}: no such folder")
    return path
