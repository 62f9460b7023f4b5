"""What a service manager (systemd) has said in the environment.

``$WATCHDOG_PID`` and ``$LISTEN_PID`` name whom it was said to: whoever has only
inherited the variables must not take them for its own.
"""

from collections.abc import Mapping

from msgspec import Struct

VARIABLES = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "FDSTORE",
    }
)
"""The master's: no child of it gets them."""

FIRST_FD = 3


class GivenFd(Struct, frozen=True):
    """A descriptor that we were started with.

    Attributes:
        name: As the unit says (``FileDescriptorName=``), or we, when we stored
            it; "" when unknown.
    """

    fd: int
    name: str = ""


class ServiceManager(Struct, frozen=True):
    """Who has started us, if that is a service manager.

    Attributes:
        address: Where it listens for notifications, as ``connect`` takes it; None:
            it does not.
        watchdog_s: It wants a sign of life within this; None: never.
        store_count: So many descriptors it keeps for the next start.
        given: What it has opened for us, or kept.
    """

    address: str | None = None
    watchdog_s: float | None = None
    store_count: int = 0
    given: tuple[GivenFd, ...] = ()


def read_manager(environ: Mapping[str, str], pid: int) -> ServiceManager:
    """Read the environment; what makes no sense there is not said.

    Args:
        environ: Of this process.
        pid: Of this process.
    """
    watchdog_s = None
    if environ.get("WATCHDOG_PID", str(pid)) == str(pid):
        watchdog_s = _read_count(environ, "WATCHDOG_USEC") / 1e6 or None
    address = parse_manager(environ.get("NOTIFY_SOCKET", ""))
    return ServiceManager(
        address=address,
        watchdog_s=watchdog_s if address else None,
        store_count=_read_count(environ, "FDSTORE") if address else 0,
        given=_read_given(environ) if environ.get("LISTEN_PID") == str(pid) else (),
    )


def parse_manager(text: str) -> str | None:
    """Read ``$NOTIFY_SOCKET``: a path or ``@abstract``; None for what we cannot speak.

    Other schemes (``vsock:``) are of virtual machines, which have their own
    manager inside.
    """
    if text.startswith("/"):
        return text
    return f"\0{text[1:]}" if text.startswith("@") and len(text) > 1 else None


def _read_given(environ: Mapping[str, str]) -> tuple[GivenFd, ...]:
    count = _read_count(environ, "LISTEN_FDS")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (count - len(names))
    return tuple(GivenFd(FIRST_FD + at, names[at]) for at in range(count))


def _read_count(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0
