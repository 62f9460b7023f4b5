"""Who runs the app, and what it leaves others to see."""

import os

import click

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.section import Section
from blazeio_supervisor.process.identity import Identity, find_identity

PRIVILEGES = Section(
    "Privileges",
    (
        click.Option(
            ["--user"],
            default="",
            metavar="USER",
            help="A master that runs as root imports and runs the app as this user "
            "(a name or number), with all its groups; unix sockets are the user's.  "
            "[default: the master's own]",
        ),
        click.Option(
            ["--group"],
            default="",
            metavar="GROUP",
            help="The group that goes with --user (a name or number).  "
            "[default: the user's own]",
        ),
        click.Option(
            ["--umask"],
            default="",
            metavar="MODE",
            help="Octal; taken from the mode of unix sockets and of files that the app "
            "makes: 007 admits user and group only.  [default: sockets are open to "
            "everybody, files as the master's umask says]",
        ),
    ),
)


def read_identity(user: str, group: str) -> Identity | None:
    """Read ``--user`` and ``--group``; None when there is nothing to change.

    Raises:
        UsageError: They are not there, or this process may not become them.
    """
    if not user:
        if group:
            raise UsageError(f"--group {group}: give --user too")
        return None
    try:
        identity = find_identity(user, group)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if os.geteuid() == 0:
        return identity
    if (identity.uid, identity.gid) == (os.geteuid(), os.getegid()):
        return None
    raise UsageError(
        f"--user {user}: only root may run the app as another user "
        f"(this is uid {os.geteuid()}): start as root, or as {user} without --user"
    )


def read_umask(text: str) -> int | None:
    """Read ``--umask``; None when it is not given.

    Raises:
        UsageError: It is not octal, or takes more than all permissions.
    """
    if not text:
        return None
    try:
        umask = int(text, 8)
    except ValueError:
        umask = -1
    if not 0 <= umask <= 0o777:
        raise UsageError(f"--umask {text}: expected octal digits, 000 to 777")
    return umask
