"""The machine: what the kernel says under /proc/sys and /sys, and Python itself."""

import os
import platform
import socket
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from blazeio_supervisor.control.doctor.findings import Finding, hidden, ill, well
from blazeio_supervisor.sockets.filters.draw import pick_always

SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
LEAST_PORTS = 10_000


def examine_machine(
    backlog: int, ports: Sequence[int], loop: str, root: Path = Path("/")
) -> Iterator[Finding]:
    """Look at all of it.

    Args:
        backlog: What the service asks for.
        ports: Where it listens.
        loop: Which event loop it wants.
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


def examine_backlog(root: Path, backlog: int) -> Finding:
    """A queue is never longer than the kernel's bound, whatever is asked for."""
    name, where = "listen backlog", "net.core.somaxconn"
    text = _read(root, where)
    if text is None:
        return hidden(name, where)
    if int(text) >= backlog:
        return well(name, f"{backlog} for each slot, {where} is {text}")
    return ill(
        name,
        f"{backlog} asked for, but {where} is {text}",
        "In a burst, more connections than that are turned away while they wait to "
        "be accepted.",
        f"sysctl -w {where}={backlog}, or a --backlog of {text}",
    )


def examine_syncookies(root: Path) -> Finding:
    """Without them a flood of SYNs keeps everybody else out."""
    name, where = "SYN cookies", "net.ipv4.tcp_syncookies"
    text = _read(root, where)
    if text is None:
        return hidden(name, where)
    if text != "0":
        return well(name, "on")
    return ill(
        name,
        "off",
        "A flood of half-open connections fills the queue, and nobody gets in.",
        f"sysctl -w {where}=1",
    )


def examine_migration(root: Path) -> Finding:
    """Only of use when somebody else closes a socket: told, never wrong."""
    name, where = "tcp_migrate_req", "net.ipv4.tcp_migrate_req"
    text = _read(root, where)
    if text is None:
        return hidden(name, f"{where}, since Linux 5.14")
    state = "on" if text != "0" else "off"
    return well(name, f"{state}; not needed: the master keeps every queue")


def examine_ports(root: Path, ports: Sequence[int]) -> Finding:
    """The kernel gives these out to clients of this machine, the app's own too."""
    name, where = "ephemeral ports", "net.ipv4.ip_local_port_range"
    text = _read(root, where)
    if text is None:
        return hidden(name, where)
    first, last = map(int, text.split())
    inside = [port for port in ports if first <= port <= last]
    if inside:
        port = inside[0]
        return ill(
            name,
            f"{first} to {last}, and the service listens on {port}",
            "An outgoing connection may have that port when the service starts: then "
            "it cannot be bound.",
            f"sysctl -w net.ipv4.ip_local_reserved_ports={port}, or another port",
        )
    if last - first < LEAST_PORTS:
        return ill(
            name,
            f"{first} to {last}",
            "An app that calls other services, or a proxy on this machine, runs out "
            "of ports for each address that it calls.",
            f'sysctl -w {where}="10240 60999"',
        )
    return well(name, f"{first} to {last}")


def examine_steering() -> Finding:
    """Try it on sockets of our own."""
    name = "steering (BPF)"
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", 0))
            sock.listen(1)
            pick_always(sock, 0)
        except OSError as error:
            return ill(
                name,
                f"refused: {error.strerror}",
                "New connections also go to workers that are blocked or busy; what "
                "waits there is still taken by a sibling.",
                "allow setsockopt(SO_ATTACH_REUSEPORT_CBPF) in the sandbox; some "
                "kernels want CAP_NET_ADMIN",
            )
    return well(name, "allowed")


def examine_huge_pages(root: Path) -> Finding:
    """Workers share their pages until one writes; a huge page is 512 of them."""
    name, where = "huge pages", "sys/kernel/mm/transparent_hugepage/enabled"
    text = _read_file(root / where)
    if text is None:
        return hidden(name, f"/{where}")
    chosen = text.partition("[")[2].partition("]")[0] or text
    if chosen != "always":
        return well(name, chosen)
    return ill(
        name,
        chosen,
        "A worker that writes one octet to memory that it shares since the fork gets "
        "a copy of 2 MiB: several workers together take more memory.",
        f"echo madvise > /{where}",
    )


def examine_clock(root: Path) -> Finding:
    """The time is read several times for each request."""
    name = "clock source"
    where = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    text = _read_file(root / where)
    if text is None:
        return hidden(name, f"/{where}")
    if text not in SLOW_CLOCKS:
        return well(name, text)
    return ill(
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
        return ill(
            name,
            f"{seen}, {' and '.join(debug)} set",
            "The event loop checks everything that it does: several times slower.",
            "unset it",
        )
    if loop == "uvloop" and find_spec("uvloop") is None:
        return ill(
            name,
            f"{seen}, which is not installed",
            "Workers cannot start with a loop that is not there.",
            "pip install uvloop, or --loop asyncio",
        )
    if loop == "asyncio":
        return ill(
            name,
            seen,
            "A request takes about half as much time again as on uvloop.",
            "--loop uvloop, unless the app needs the other one",
        )
    return well(name, seen)


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable))


def _read(root: Path, key: str) -> str | None:
    return _read_file(root / "proc/sys" / key.replace(".", "/"))


def _read_file(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
