"""Who runs the app, and what it leaves others to see."""

import os
from dataclasses import dataclass
from functools import cached_property

from blazeio_supervisor.options.kinds.numbers import Mode
from blazeio_supervisor.options.kinds.texts import Text
from blazeio_supervisor.options.option import Section, SettingError, option
from blazeio_supervisor.process.identity import (
    Identity,
    NoSuchIdentityError,
    find_identity,
)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Privileges(Section):
    """The user of the app's processes, and the modes of what it makes."""

    title = "Privileges"

    user: str = option(
        Text("USER"),
        "A master that runs as root imports and runs the app as this user (a name or "
        "number), with all its groups; unix sockets are the user's.",
        default="",
        default_text="the master's own",
    )
    group: str = option(
        Text("GROUP"),
        "The group that goes with --user (a name or number).",
        default="",
        default_text="the user's own",
    )
    umask: int | None = option(
        Mode(),
        "Octal; taken from the mode of unix sockets and of files that the app makes: "
        "007 admits user and group only.",
        default=None,
        default_text="sockets are open to everybody, files as the master's umask says",
    )

    @cached_property
    def identity(self) -> Identity | None:
        """Who the app's processes run as; None: as the master.

        Raises:
            SettingError: They are not there, or this process may not become them.
        """
        if not self.user:
            if self.group:
                raise SettingError("group", "give --user too")
            return None
        try:
            identity = find_identity(self.user, self.group)
        except NoSuchIdentityError as error:
            raise SettingError(error.of, str(error)) from None
        if os.geteuid() == 0:
            return identity
        if (identity.uid, identity.gid) == (os.geteuid(), os.getegid()):
            return None
        raise SettingError(
            "user",
            f"only root may run the app as another user (this is uid {os.geteuid()}): "
            f"start as root, or as {self.user} without --user",
        )

    def check(self) -> None:
        """See that it can be had."""
        _ = self.identity
