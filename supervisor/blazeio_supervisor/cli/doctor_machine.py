"""The machine: what the kernel says under /proc/sys and /sys, and Python itself.

Also what a finding of the doctor is.
"""

import os
import platform
import re
import socket
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

from blazeio.wire import IS_COMPILED
from blazeio_supervisor.cli.output import format_bytes
from blazeio_supervisor.config.environment import (
    ControlGroup,
    list_groups,
    read_text,
)
from blazeio_supervisor.errors import count_of
from blazeio_supervisor.sockets.reuseport import pick_always

Verdict = Literal["ok", "warn", "unknown"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was examined.

    Attributes:
        name: What was examined, in a word or two that stay the same.
        verdict: ``unknown``: it cannot be seen from here.
        seen: What was found.
        meaning: What follows from it; "" when nothing is wrong.
        remedy: What to do about it; "" when nothing is wrong.
    """

    name: str
    verdict: Verdict
    seen: str
    meaning: str = ""
    remedy: str = ""


def ok(name: str, seen: str) -> Finding:
    """Report that something is as it should be."""
    return Finding(name=name, verdict="ok", seen=seen)


def warn(name: str, seen: str, meaning: str, remedy: str) -> Finding:
    """Report something to mend."""
    return Finding(name=name, verdict="warn", seen=seen, meaning=meaning, remedy=remedy)


def unknown(name: str, where: str) -> Finding:
    """Report that something cannot be seen: by a sandbox, for example."""
    return Finding(name=name, verdict="unknown", seen=f"not visible here ({where})")


# The machine.


SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
# A port stays in TIME_WAIT for a minute (60 s, a constant of the kernel): these are
# enough for about 170 new connections a second to one address.
LEAST_PORTS = 10_000


def examine_machine(
    backlog: int, ports: Sequence[int], loop: str, root: Path = Path("/")
) -> Iterator[Finding]:
    """Examine the machine.

    Args:
        backlog: The backlog that the service asks for.
        ports: The ports that it listens on.
        loop: The event loop of its workers.
        root: Where /proc and /sys are.
    """
    yield examine_backlog(root, backlog)
    yield examine_syncookies(root)
    yield examine_migration(root)
    yield examine_ports(root, ports)
    yield examine_steering()
    yield examine_huge_pages(root)
    yield examine_clock(root)
    yield examine_python(loop)
    yield describe_parser()


def examine_backlog(root: Path, backlog: int) -> Finding:
    """Examine the kernel's bound for accept queues, which no backlog exceeds."""
    name, where = "listen backlog", "net.core.somaxconn"
    text = _read(root, where)
    if text is None:
        return unknown(name, where)
    # listen(2): the kernel cuts a larger backlog to somaxconn without an error.
    if int(text) >= backlog:
        return ok(name, f"{backlog} for each slot, {where} is {text}")
    return warn(
        name,
        f"{backlog} asked for, but {where} is {text}",
        "In a burst, more connections than that are turned away while they wait to "
        "be accepted.",
        f"sysctl -w {where}={backlog}, or a --backlog of {text}",
    )


def examine_syncookies(root: Path) -> Finding:
    """Examine SYN cookies, without which a flood of SYNs keeps everybody else out."""
    name, where = "SYN cookies", "net.ipv4.tcp_syncookies"
    text = _read(root, where)
    if text is None:
        return unknown(name, where)
    # A connection that comes with its cookie needs no entry in the queue of half-open
    # ones (tcp(7), tcp_syncookies).
    if text != "0":
        return ok(name, "on")
    return warn(
        name,
        "off",
        "A flood of half-open connections fills the queue, and nobody gets in.",
        f"sysctl -w {where}=1",
    )


def examine_migration(root: Path) -> Finding:
    """Report tcp_migrate_req, which is of no use here: no queue is ever closed."""
    name, where = "tcp_migrate_req", "net.ipv4.tcp_migrate_req"
    text = _read(root, where)
    if text is None:
        return unknown(name, f"{where}, since Linux 5.14")
    state = "on" if text != "0" else "off"
    return ok(name, f"{state}; not needed: the master keeps every queue")


def examine_ports(root: Path, ports: Sequence[int]) -> Finding:
    """Examine the ports that the kernel gives to outgoing connections."""
    name, where = "ephemeral ports", "net.ipv4.ip_local_port_range"
    text = _read(root, where)
    if text is None:
        return unknown(name, where)
    first, last = map(int, text.split())
    # A port of that range may be in use by a connection that this machine has begun:
    # then bind(2) fails with EADDRINUSE.
    inside = [port for port in ports if first <= port <= last]
    if inside:
        port = inside[0]
        return warn(
            name,
            f"{first} to {last}, and the service listens on {port}",
            "An outgoing connection may have that port when the service starts: then "
            "it cannot be bound.",
            f"sysctl -w net.ipv4.ip_local_reserved_ports={port}, or another port",
        )
    if last - first < LEAST_PORTS:
        return warn(
            name,
            f"{first} to {last}",
            "An app that calls other services, or a proxy on this machine, runs out "
            "of ports for each address that it calls.",
            f'sysctl -w {where}="10240 60999"',
        )
    return ok(name, f"{first} to {last}")


def examine_steering() -> Finding:
    """Examine whether a BPF program may choose the worker: try it on a socket."""
    name = "steering (BPF)"
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", 0))
            sock.listen(1)
            # Tried and not looked up: whether it is allowed depends on the kernel, on
            # seccomp and on the capabilities, and no file says so.
            pick_always([sock], 0)
        except OSError as error:
            return warn(
                name,
                f"refused: {error.strerror}",
                "New connections also go to workers that are blocked or busy; what "
                "waits there is still taken by a sibling.",
                "allow setsockopt(SO_ATTACH_REUSEPORT_CBPF) in the sandbox; some "
                "kernels want CAP_NET_ADMIN",
            )
    return ok(name, "allowed")


def examine_huge_pages(root: Path) -> Finding:
    """Examine huge pages: a write to a shared one copies 512 ordinary pages."""
    name, where = "huge pages", "sys/kernel/mm/transparent_hugepage/enabled"
    text = _read_file(root / where)
    if text is None:
        return unknown(name, f"/{where}")
    # The file lists all choices, the one in force in brackets: ``always [madvise]
    # never``.
    chosen = text.partition("[")[2].partition("]")[0] or text
    if chosen != "always":
        return ok(name, chosen)
    return warn(
        name,
        chosen,
        "A worker that writes one octet to memory that it shares since the fork gets "
        "a copy of 2 MiB: several workers together take more memory.",
        f"echo madvise > /{where}",
    )


def examine_clock(root: Path) -> Finding:
    """Examine the clock source: the time is read several times for each request."""
    name = "clock source"
    where = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    text = _read_file(root / where)
    if text is None:
        return unknown(name, f"/{where}")
    # With these sources the vDSO cannot read the clock in user space, so each question
    # for the time enters the kernel (vdso(7)).
    if text not in SLOW_CLOCKS:
        return ok(name, text)
    return warn(
        name,
        text,
        "Reading the time is a system call here, about a microsecond each.",
        f"on a machine with a stable TSC: echo tsc > /{where}",
    )


def examine_python(loop: str) -> Finding:
    """Which interpreter and which loop; debug modes cost several times as much."""
    name = "Python and loop"
    seen = f"{platform.python_implementation()} {platform.python_version()}, {loop}"
    debug = [each for each in ("PYTHONDEVMODE", "PYTHONASYNCIODEBUG") if _is_set(each)]
    if debug:
        return warn(
            name,
            f"{seen}, {' and '.join(debug)} set",
            "The event loop checks everything that it does: several times slower.",
            f"unset {' '.join(debug)} and restart the service",
        )
    if loop == "uvloop" and find_spec("uvloop") is None:
        return warn(
            name,
            f"{seen}, which is not installed",
            "Workers run on the slower loop of asyncio instead.",
            "pip install uvloop, or --loop asyncio",
        )
    if loop == "asyncio":
        return warn(
            name,
            seen,
            "A request takes about half as much time again as on uvloop.",
            "--loop uvloop, unless the app needs the other one",
        )
    return ok(name, seen)


def describe_parser() -> Finding:
    """Report whether HTTP is parsed by compiled code; both are as strict."""
    return ok("HTTP parser", "compiled" if IS_COMPILED else "Python")


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable))


def _read(root: Path, key: str) -> str | None:
    return _read_file(root / "proc/sys" / key.replace(".", "/"))


def _read_file(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


# What a process may use: descriptors, and the bounds of its control group.


USUAL_CONNECTIONS = 1000
"""How many connections a worker should be able to hold when no bound is set."""
RESERVED = 64
_MOST_MEMORY = 0.9
_MOST_THROTTLED = 0.05
_LIMIT = re.compile(r"^Max open files +(\d+) +(\d+)", re.MULTILINE)


def examine_bounds(
    pid: int, workers: int, connections: int | None, root: Path = Path("/")
) -> Iterator[Finding]:
    """Examine the bounds of a worker.

    Args:
        pid: The pid of a worker, or of any process with the same bounds.
        workers: How many workers there are.
        connections: How many connections each may hold; None: no bound is set.
        root: Where /proc and /sys are.
    """
    proc = root / "proc" / str(pid)
    yield examine_files(proc, connections)
    if not read_text(proc / "cgroup") or not (root / "sys/fs/cgroup").is_dir():
        yield unknown("control group", f"/proc/{pid}/cgroup")
        return
    yield examine_quota(list_groups("cpu", root, pid), workers)
    yield examine_memory(list_groups("memory", root, pid))


def examine_files(proc: Path, connections: int | None) -> Finding:
    """Examine the limit of descriptors: each connection takes one."""
    name = "open files"
    match = _LIMIT.search(read_text(proc / "limits"))
    if match is None:
        return unknown(name, str(proc / "limits"))
    # The hard limit: a worker raises its soft one to that (``raise_descriptor_limit``).
    hard = int(match[2])
    wanted = (connections or USUAL_CONNECTIONS) + RESERVED
    if hard >= wanted:
        return ok(name, f"{hard} for each worker")
    what = f"--max-connections {connections}" if connections else "a busy worker"
    return warn(
        name,
        f"{hard} for each worker, {what} needs {wanted}",
        "A worker accepts no more connections than that; the others wait in its queue.",
        "LimitNOFILE=65536 in the unit, --ulimit nofile=65536 for a container, or "
        "ulimit -n 65536, as root, in the shell that starts it",
    )


def examine_quota(groups: list[ControlGroup], workers: int) -> Finding:
    """Examine the processor quota: more workers than cores only take turns."""
    name = "processor quota"
    quotas = [quota for each in groups if (quota := each.read_quota()) is not None]
    throttled = max((each.read_throttled() for each in groups), default=0.0)
    if not quotas:
        return ok(name, "none")
    # A quota of a group above holds as well, and the smallest one is met first
    # (cgroups(7)).
    cores = min(quotas)
    unit = "core" if cores == 1 else "cores"
    seen = f"{cores:g} {unit} for {count_of(workers, 'worker')}"
    # A quota of less than a core is no fault by itself: one worker is the least there
    # is.
    if workers > max(cores, 1):
        return warn(
            name,
            seen,
            "Once the quota is used up all of them stand still until the next period "
            "of 0.1 s: that is seen as loop lag and as slow requests.",
            f"--workers auto, or a quota of {workers} cores",
        )
    if throttled > _MOST_THROTTLED:
        return warn(
            name,
            f"{seen}; throttled in {throttled:.0%} of all periods",
            "In those every worker stood still for a part of 0.1 s.",
            "a larger quota, or less work",
        )
    return ok(name, seen)


def examine_memory(groups: list[ControlGroup]) -> Finding:
    """Examine the memory bound, near which the kernel kills a worker."""
    name = "memory bound"
    found = [
        (used / most, used, most)
        for group in groups
        if (most := group.read_memory_limit()) is not None
        and (used := group.read_memory_used()) is not None
    ]
    if not found:
        return ok(name, "none")
    share, used, most = max(found)
    seen = f"{format_bytes(used)} of {format_bytes(most)} in use"
    if share < _MOST_MEMORY:
        return ok(name, seen)
    return warn(
        name,
        seen,
        "Soon the kernel kills a worker (part of what is in use may be file cache, "
        "which it gives back first).",
        "--max-memory, which replaces a worker in time; fewer workers; or a larger "
        "bound",
    )
