"""The life of workers: how long it may take, and when they are replaced.

By the times of the supervisor, by the health of new code and of one worker, and at each
change of a file while an app is written.
"""

import importlib.util
import os
from dataclasses import dataclass

from msgspec import Struct

from blazeio_supervisor.config.option import Change, Section, SettingError, option
from blazeio_supervisor.config.types import (
    Count,
    Flag,
    Many,
    Number,
    Parsed,
    Seconds,
    Size,
    Text,
    read_path,
)
from blazeio_supervisor.fleet.policy import Policy

# How long the supervisor waits.


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Times(Section):
    """How long the supervisor waits; the times of a request are limits."""

    title = "Time (seconds)"

    graceful_timeout_s: float = option(
        Seconds(0.1),
        # gunicorn's default. Whoever stops the service has to wait for longer: systemd
        # does for 90 s (TimeoutStopSec=), Kubernetes for 30 s
        # (terminationGracePeriodSeconds), and both then kill everything.
        "How long a stopping worker may take to finish requests in flight and run its "
        "on_stop hooks; then it is killed.",
        default=30.0,
    )
    boot_timeout_s: float = option(
        Seconds(0.1),
        "How long the import of the app and its on_start hooks may take.",
        default=60.0,
    )
    timeout_s: float = option(
        # A second at least: a worker that nobody asks beats no more often.
        Seconds(1),
        "Replace a worker whose event loop has been blocked for this long; its stacks "
        "are logged.",
        default=30.0,
    )
    canary_hold_s: float = option(
        Seconds(),
        "During a reload, how long the first new worker must serve before an old one "
        "is replaced (if it dies, nothing has changed), and the last one before the "
        "old code is given up. Under load it takes less: 0.2 s, and 200 answers of "
        "each new worker with no greater share of 5xx than before.",
        default=2.0,
    )
    rollout_timeout_s: float = option(
        Seconds(1),
        "How long a reload may take to replace the workers of all slots; after that "
        "the service goes back to the old code.",
        default=600.0,
    )
    upgrade_timeout_s: float = option(
        Seconds(0.1),
        # While it takes over, the workers serve on, but nobody replaces one that dies.
        "How long the new version of the supervisor may take to start in an upgrade "
        "(USR2), both in the rehearsal and when it takes over; after that the old "
        "version stays in charge.",
        default=10.0,
    )
    drain_idle_s: float = option(
        Seconds(),
        # The request and our FIN may pass each other. What is lost so may be sent again
        # by itself only if it is idempotent (RFC 9112, section 9.3.1): a POST is an
        # error.
        "How long a draining worker keeps an idle connection, since its client may "
        "just be sending a request.",
        default=2.0,
    )
    farewell_window_s: float = option(
        Seconds(),
        "A draining worker closes its WebSockets and event streams at random times "
        "within this span, so that their clients do not all reconnect at once. At "
        "most what --graceful-timeout leaves.",
        default=2.0,
    )
    drain_delay_s: float = option(
        Seconds(),
        # Kubernetes sends TERM and takes the pod out of the endpoints at the same time;
        # until each node has heard of it, new connections come.
        "After TERM, QUIT or `stop`, report not ready and keep serving for this long "
        "before draining, so that a load balancer can pick another server. A second "
        "signal, or INT, ends the wait. Workers that got TERM too are replaced "
        "meanwhile (with systemd, set KillMode=mixed).",
        default=0.0,
    )

    def check(self) -> None:
        """Check that a reload can end."""
        if self.rollout_timeout_s <= self.canary_hold_s:
            raise SettingError(
                "rollout_timeout_s",
                "no reload could end, since --canary-hold alone takes "
                f"{self.canary_hold_s:g} s",
            )


# When workers are replaced: the health of new code, the life of one worker.


JITTER_SHARE = 0.1
MIB = 1024 * 1024


def read_health_path(text: str) -> str:
    """Read ``--health-path``; "" stands for none.

    Raises:
        ValueError: The text is no path of a request.
    """
    return read_path(text) if text else text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Renewal(Section):
    """The health of new code, and the recycling of workers that serve well."""

    title = "Renewal"

    health_path: str = option(
        Parsed(read_health_path, "PATH"),
        "At a reload, GET this path from the first new worker before it accepts any "
        "connection. If the answer is not 2xx, or does not come within "
        "--health-timeout, the reload fails and the old workers go on.",
        default="",
        default_text="not asked",
    )
    health_timeout_s: float = option(
        Seconds(0.1),
        "How long the answer for --health-path may take.",
        default=Policy().health_timeout_s,
    )
    rollback_5xx: float | None = option(
        Number(0, 1),
        "Roll back if the share of 5xx responses of the new code exceeds that of the "
        "old code over the same time by more than this; 0.05 is 5 in 100. It is "
        "compared from the first new worker until the old code is given up "
        "(--canary-hold); a difference that may be chance is ignored.",
        default=None,
        default_text="whatever it is",
    )
    rollback_latency: float | None = option(
        Number(1),
        # Not the p99: of 50 responses, which are enough for a decision, that is the
        # slowest.
        "Likewise, roll back if the p95 latency of the new code is more than this "
        "many times that of the old code (and above 10 ms), or the lag of its event "
        "loops is (and above 0.1 s).",
        default=None,
        default_text="whatever they are",
    )
    rollback_min_requests: int = option(
        Count(1),
        "Roll back for 5xx or latency only after the new code has answered this many "
        "requests.",
        default=Policy().rollback_min_requests,
    )
    max_requests: int | None = option(
        Count(1),
        # Of gunicorn: against what an app, or a library in it, leaks.
        "Replace a worker after this many requests. Workers are replaced one at a "
        "time, here and by the options below; the new one is ready before the old one "
        "drains.",
        default=None,
        default_text="never",
    )
    max_requests_jitter: int | None = option(
        Count(),
        "Add a random number of requests, up to this, for each worker, so that not "
        "all are replaced at once.",
        default=None,
        default_text="a tenth of --max-requests",
    )
    max_lifetime_s: float | None = option(
        Seconds(1, float("inf")),
        "Replace a worker after this many seconds.",
        default=None,
        default_text="never",
    )
    max_lifetime_jitter_s: float | None = option(
        Seconds(0, float("inf")),
        "Add a random number of seconds, up to this, for each worker.",
        default=None,
        default_text="a tenth of --max-lifetime",
    )
    max_memory_bytes: int | None = option(
        Size(MIB),
        # A limit of the kernel comes at another time: by RLIMIT_AS an allocation fails
        # in the midst of a request, by memory.max of a control group the worker is
        # killed there.
        "Replace a worker with more private memory than this: 512M, 2G (units of "
        "1024). Memory shared with other workers since the fork is not counted. It is "
        "measured every few seconds.",
        default=None,
        default_text="never",
        key="max_memory",
    )
    exit_on_oom: bool = option(
        Flag(),
        # A container engine sees how its first process ends, the master, and no other.
        # With systemd the unit would be stopped by OOMPolicy=, were that not
        # ``continue``.
        "End the service with exit code 1 when the kernel kills a worker for lack of "
        "memory, for those who want the container started anew; else the worker alone "
        "is replaced.",
        default=False,
    )

    def check(self) -> None:
        """Check that each jitter has something to vary."""
        if self.max_requests is None and self.max_requests_jitter is not None:
            raise SettingError(
                "max_requests_jitter", "has no effect without --max-requests"
            )
        if self.max_lifetime_s is None and self.max_lifetime_jitter_s is not None:
            raise SettingError(
                "max_lifetime_jitter_s", "has no effect without --max-lifetime"
            )


def choose_jitter(given: float | None, limit: float | None) -> float:
    """Return the jitter of a limit: a tenth of it, where none was given."""
    # The workers of a service start together and are asked about as often. Without a
    # jitter they would reach the limit together, too.
    return (limit or 0) * JITTER_SHARE if given is None else given


# Options for whoever writes an app.


HASTE_S = 0.1
"""With ``--reload`` nothing is held or kept for longer than this."""


class FileWatch(Struct, frozen=True):
    """Which files are watched, and how.

    Attributes:
        folders: With all that is below them.
        includes: Patterns of names that count beside code.
        excludes: Patterns of names, and of paths below a folder, that do not.
        delay_s: A change counts once nothing has changed for this long.
        polls: Look at the files; None: where the kernel may not be told of changes.
    """

    folders: tuple[str, ...]
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    delay_s: float = 0.05
    polls: bool | None = None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Development(Section):
    """New code at each change of a file."""

    title = "Development"

    reload: bool = option(
        Flag(),
        "Reload whenever a source file changes, worker by worker. If new code fails, "
        "its traceback is printed and the old code keeps serving; at the start, it "
        "waits for the next change. --canary-hold and "
        f"--drain-idle are then {HASTE_S:g} s at most. Needs watchfiles: pip install "
        "watchfiles.",
        default=False,
        change=Change.RESTART,
    )
    reload_dirs: tuple[str, ...] = option(
        Many(Text("DIR"), "\n"),
        "Watch this folder and its subfolders. May be given several times.",
        default=(),
        default_text="--app-dir, or the folder of the script",
        change=Change.RESTART,
        key="reload_dir",
    )
    reload_includes: tuple[str, ...] = option(
        Many(Text("PATTERN"), "\n"),
        "Watch files that match this pattern, too, for example '*.html'. May be given "
        "several times.",
        default=(),
        default_text="*.py, blazeio.toml and pyproject.toml",
        change=Change.RESTART,
        key="reload_include",
    )

    reload_excludes: tuple[str, ...] = option(
        Many(Text("PATTERN"), "\n"),
        "Ignore changes of files whose name, or path below the watched folder, matches "
        "this pattern: 'test_*.py', 'migrations/*'. May be given several times.",
        default=(),
        default_text="none",
        change=Change.RESTART,
        key="reload_exclude",
    )
    reload_delay_s: float = option(
        Seconds(),
        # An editor writes a new file, renames it and touches the old one; a checkout
        # changes hundreds. All of that is one reload.
        "Reload once nothing has changed for this long.",
        default=0.05,
        change=Change.RESTART,
    )
    reload_poll: bool | None = option(
        Flag(),
        # inotify(7) is told by the kernel that makes a change, and that is another one
        # there.
        "Look at the files several times a second, and do not rely on the kernel, "
        "which is told nothing of changes that others make on network disks, in "
        "folders shared with a container or with WSL.",
        default=None,
        default_text="where a watched folder is on such a disk",
        change=Change.RESTART,
    )

    def check(self) -> None:
        """Check that watchfiles is installed, and that the folders are there."""
        if not self.reload:
            return
        if importlib.util.find_spec("watchfiles") is None:
            reason = "it needs watchfiles, which is not installed"
            raise SettingError("reload", f"{reason}: pip install watchfiles")
        for given in self.reload_dirs:
            if not os.path.isdir(os.path.join(self.folder, given)):
                raise SettingError("reload_dirs", f"{given} is not a folder")
