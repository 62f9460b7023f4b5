"""Where the service listens, and which worker a connection goes to."""

from collections.abc import Sequence
from typing import cast, get_args

import click

from blazeio_supervisor.control.places import Place, parse_place
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.policy import SteeringMode
from blazeio_supervisor.options.section import Section
from blazeio_supervisor.sockets.address import Address, TcpAddress, parse_address

ADDRESSES = Section(
    "Addresses",
    (
        click.Option(
            ["--bind"],
            multiple=True,
            metavar="ADDRESS",
            help="Where to listen: host:port, [v6]:port, :port (everywhere) or "
            "unix:/path. May be given several times. Port 0 picks a free one and "
            "prints it.  [default: the App's own host and port]",
        ),
        click.Option(
            ["--control"],
            default="",
            metavar="PATH",
            help="Where the verbs (status, reload ...) reach this service: a unix "
            "socket with mode 0600, or @name in the abstract namespace.  [default: "
            "control.sock in $RUNTIME_DIRECTORY, else an abstract name with uid and "
            "pid]",
        ),
        click.Option(
            ["--steering"],
            default="load",
            metavar="MODE",
            help="Which worker a new TCP connection goes to. load: one that serves, "
            "the less busy the likelier; even: any that serves; off: no program in "
            "the kernel, which picks by a hash, a blocked worker too: a sibling then "
            "takes the connection over after a moment.  [default: load]",
        ),
    ),
)


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


def read_steering(value: str) -> SteeringMode:
    """Read ``--steering``.

    Raises:
        UsageError: It is none of the modes.
    """
    for mode in get_args(SteeringMode):
        if mode == value:
            return cast("SteeringMode", mode)
    raise UsageError(f"--steering {value}: expected load, even or off")


def read_control(text: str) -> Place | None:
    """Read ``--control``; "": the master chooses.

    Raises:
        UsageError: It cannot be one.
    """
    try:
        return parse_place(text) if text else None
    except ValueError as error:
        raise UsageError(f"--control {error}") from None
