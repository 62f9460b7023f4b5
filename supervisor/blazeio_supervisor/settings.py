"""What the operator asked for: read once, checked, never changed.

The only place that reads the environment.
"""

import os
import random
from dataclasses import dataclass, field

from blazeio_supervisor.control.places import Place, name_after
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.policy import Policy, SteeringMode
from blazeio_supervisor.loading.app_path import AppPath
from blazeio_supervisor.process.identity import Identity
from blazeio_supervisor.process.messages import LoopName, Overrides
from blazeio_supervisor.sockets.address import Address, UnixAddress

WORKER_LIMIT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker may use up before another takes its place; None: any.

    Each worker draws its own part of a jitter, so that not all are replaced at
    the same time.

    Attributes:
        max_requests_jitter: At most so many requests more.
        max_lifetime_jitter_s: At most so much longer.
        max_memory_bytes: Of its own, not shared with others.
    """

    max_requests: int | None = None
    max_requests_jitter: int = 0
    max_lifetime_s: float | None = None
    max_lifetime_jitter_s: float = 0.0
    max_memory_bytes: int | None = None


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
        drain_delay_s: Between the order to stop and the first drain: no longer
            ready, still serving.
        rollout_timeout_s: A whole reload; then everything goes back.
        health_path: What the first worker of a reload is asked for before it
            accepts; "": nothing.
        limits: When a worker is replaced though it serves well.
        log_level: The least level that is printed.
        overrides: What wins over the App's own settings.
        is_preload: The forkserver imports the app; else each worker does.
        identity: Who the app's processes run as; None: as the master.
        umask: Of the app's files and of unix sockets; None: the master's, and
            unix sockets are open to everybody.
        steering: What decides which slot gets a new connection.
        name: What the verbs call this instance; "": as the app.
        control: Where the control socket is; None: it is chosen.
        runtime_directory: Where a unit may make it; "" when there is none.
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
    drain_delay_s: float = 0.0
    rollout_timeout_s: float = 600.0
    health_path: str = ""
    limits: WorkerLimits = field(default_factory=WorkerLimits)
    log_level: str = "INFO"
    overrides: Overrides = field(default_factory=Overrides)
    is_preload: bool = True
    identity: Identity | None = None
    umask: int | None = None
    steering: SteeringMode = "load"
    name: str = ""
    control: Place | None = None
    runtime_directory: str = ""

    @property
    def instance(self) -> str:
        """The name by which this service is told from others."""
        return self.name or name_after(self.app.text)

    def make_policy(self) -> Policy:
        """Give the planner its share."""
        return Policy(
            boot_timeout_s=self.boot_timeout_s,
            grace_s=self.graceful_timeout_s,
            drain_delay_s=self.drain_delay_s,
            steering=self.steering,
            timeout_s=self.timeout_s,
            canary_hold_s=self.canary_hold_s,
            hold_s=self.canary_hold_s,
            rollout_timeout_s=self.rollout_timeout_s,
            has_health_check=bool(self.health_path),
            max_requests=self.limits.max_requests,
            max_requests_jitter=self.limits.max_requests_jitter,
            max_lifetime_s=self.limits.max_lifetime_s,
            max_lifetime_jitter_s=self.limits.max_lifetime_jitter_s,
            max_memory_bytes=self.limits.max_memory_bytes,
            worker_limit=WORKER_LIMIT,
            is_shared_listener=bool(self.binds)
            and all(isinstance(bind, UnixAddress) for bind in self.binds),
        )

    def make_rng(self) -> random.Random:
        """Give the planner its jitter: another one on each machine."""
        return random.Random()


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


def find_runtime_directory() -> str:
    """Give the directory that systemd made for the unit, the first of several."""
    return os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]


def find_app_dir(folder: str, given: str) -> str:
    """Give the folder that is made importable.

    Raises:
        UsageError: There is no such folder.
    """
    path = os.path.join(folder, given)
    if not os.path.isdir(path):
        raise UsageError(f"--app-dir {given}: no such folder")
    return path
