"""Where the service listens, which worker a connection goes to, and proxies in front.

The library's modules that check a value are imported where one is checked: ``--help``
needs none of them.
"""

import os
import stat
from dataclasses import dataclass
from typing import get_args

import msgspec

from blazeio.errors import ConfigurationError
from blazeio_supervisor.config.option import Change, Section, SettingError, option
from blazeio_supervisor.config.types import (
    Choice,
    Count,
    Flag,
    Many,
    Mode,
    Parsed,
)
from blazeio_supervisor.fleet.policy import SteeringMode
from blazeio_supervisor.ipc.processes import find_identity
from blazeio_supervisor.ipc.socket_paths import SocketPath, parse_place
from blazeio_supervisor.sockets.address import (
    Address,
    TcpAddress,
    format_address,
    parse_address,
)
from blazeio_supervisor.sockets.bind import BACKLOG


def read_owner(text: str) -> tuple[int, int]:
    """Read ``--uds-owner``: user and group as numbers.

    Raises:
        ValueError: There is no such user or group.
    """
    user, _, group = text.partition(":")
    identity = find_identity(user, group)
    return identity.uid, identity.gid


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Addresses(Section):
    """Listening sockets, the socket of the verbs, and steering."""

    title = "Addresses"

    binds: tuple[Address, ...] = option(
        Many(Parsed(parse_address, "ADDRESS", format_address)),
        "Where to listen: host:port, [v6]:port, :port (everywhere; 0.0.0.0:port is "
        "IPv4 alone, [::]:port IPv6 alone) or unix:/path; https:// or http:// in front "
        "says what is spoken there, else it is https where there is a certificate. "
        "May be given several times. Port 0 picks a free one and prints it.",
        default=(),
        default_text="the App's own host and port",
        # At a reload the sockets stay: what waits in the queue of one that is closed
        # gets a reset, and between two sockets of an address new connections are
        # refused.
        change=Change.RESTART,
        key="bind",
    )
    fds: tuple[int, ...] = option(
        Many(Count()),
        # uvicorn's option; what systemd hands over is found by $LISTEN_FDS, without
        # one.
        "The number of a listening socket that is open when the service is started: by "
        "systemd, or by another supervisor. May be given several times, with --bind or "
        "without.",
        default=(),
        default_text="none",
        change=Change.RESTART,
        key="fd",
    )
    backlog: int = option(
        # 16 bits: older kernels keep no more of it, and refuse a larger somaxconn.
        Count(1, 65535),
        "How many connections may wait in each queue before they are accepted; the "
        "kernel allows net.core.somaxconn at most.",
        default=BACKLOG,
        change=Change.RESTART,
    )
    uds_mode: int | None = option(
        Mode(),
        # Who connects needs the permission to write; that to read does not matter
        # (unix(7)).
        "The mode of unix sockets, in octal: 660 allows user and group.",
        default=None,
        default_text="666, without what --umask takes away",
        change=Change.RESTART,
    )
    uds_owner: tuple[int, int] | None = option(
        Parsed(read_owner, "USER[:GROUP]", lambda ids: f"{ids[0]}:{ids[1]}"),
        "The owner of unix sockets, by names or numbers.",
        default=None,
        default_text="--user and --group, else the master's own",
        change=Change.RESTART,
    )
    no_control: bool = option(
        Flag(),
        "Create no control socket: no verb can reach this service.",
        default=False,
        change=Change.RESTART,
    )
    control: SocketPath | None = option(
        Parsed(parse_place, "PATH"),
        # An abstract name has no mode at all (unix(7)). Whoever may connect, the kernel
        # says who it is (SO_PEERCRED), and only the own user and root are answered.
        "Where the verbs (status, reload ...) reach this service: a unix socket with "
        "mode 0600, or @name in the abstract namespace.",
        default=None,
        default_text="control.sock in $RUNTIME_DIRECTORY, else an abstract name with "
        "uid and pid",
        change=Change.RESTART,
    )
    steering: SteeringMode = option(
        Choice(get_args(SteeringMode), "MODE"),
        # By itself the kernel picks a socket of the group by a hash of the addresses
        # (SO_REUSEPORT, socket(7)): it does not know whether anybody accepts from it.
        "Which worker gets a new TCP connection. load: a serving one, preferring less "
        "busy ones; even: any serving one, with equal probability; off: the kernel "
        "picks by a hash and may pick a blocked worker, whose connections a sibling "
        "takes over after a moment.",
        default="load",
        change=Change.RESTART,
    )

    def check(self) -> None:
        """Check that no address is given twice, but for port 0, which may be."""
        seen = set[Address]()
        for bind in self.binds:
            # Without the scheme: ``http://:80`` and ``https://:80`` are one address,
            # which can be bound once.
            place = msgspec.structs.replace(bind, scheme="")
            is_free = isinstance(bind, TcpAddress) and bind.port == 0
            if place in seen and not is_free:
                raise SettingError("binds", f"{format_address(place)} is given twice")
            seen.add(place)
        # Whether it listens is seen when it is taken over; here it is only told apart
        # from a number that was typed wrong.
        for fd in self.fds:
            _check_socket(fd)
        if self.no_control and self.control is not None:
            raise SettingError("no_control", f"and --control {self.control}: which?")


def _check_socket(fd: int) -> None:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        reason = f"descriptor {fd} is not open in this process"
        raise SettingError("fds", reason) from None
    if not stat.S_ISSOCK(mode):
        raise SettingError("fds", f"descriptor {fd} is not a socket")


# Proxies in front of the service, and what they are believed.


_TRUSTED_WORDS = "addresses, networks, * (everybody) or unix, separated by commas"


def read_allow_list(text: str) -> str:
    """Check a list of peers.

    Raises:
        ValueError: A word of the list cannot be read.
    """
    from blazeio.content.forwarded import parse_allow_list

    try:
        parse_allow_list(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return text


def read_root_path(text: str) -> str:
    """Check ``--root-path``.

    Raises:
        ValueError: The text is no path.
    """
    from blazeio.app.endpoints import check_root_path

    try:
        return check_root_path(text)
    except ConfigurationError:
        raise ValueError("expected a path such as /api, no / at its end") from None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Proxies(Section):
    """Proxies and balancers in front of the service."""

    title = "Proxies"

    forwarded_allow_ips: str | None = option(
        Parsed(read_allow_list, "LIST"),
        # Nobody is believed unless it is said: every client can send these fields.
        "Proxies whose X-Forwarded-For, -Proto, -Host or Forwarded say who the client "
        f"is: {_TRUSTED_WORDS}.",
        default=None,
        default_text="the App's own, else none",
    )
    proxy_protocol_allow_ips: str | None = option(
        Parsed(read_allow_list, "LIST"),
        # Its specification forbids to guess whether a header is there (section 2):
        # otherwise a client could send one of its own.
        "Load balancers that begin each connection with a PROXY protocol header "
        "(version 1 or 2); connections from them without one are refused.",
        default=None,
        default_text="the App's own, else none",
    )
    root_path: str | None = option(
        Parsed(read_root_path, "PATH"),
        # WSGI calls it SCRIPT_NAME (PEP 3333).
        "The prefix that the proxy removes from each path, such as /api. It becomes "
        "r.root_path, and redirects of the framework begin with it.",
        default=None,
        default_text="the App's own, else nothing",
    )
