"""What a child of the master is heard by, whether forkserver or worker."""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct, field

from blazeio_supervisor.children.blame import Accuse, Blame
from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.observe.lines.captured import CapturedOutput
from blazeio_supervisor.observe.logs import FramesPrinter
from blazeio_supervisor.observe.oom_kills import OomKills, watch_own_group
from blazeio_supervisor.process.child_channel import (
    MOST_UNREAD,
    ChildChannel,
    FromChildT,
)
from blazeio_supervisor.process.reaper import Reaper

CLOSED_S = 10.0
"""A child ends soon after its channel has; one that does not is ended."""
CLOSED_ITS_CHANNEL = f"it lives on {CLOSED_S:g} s after it has closed its channel"
SPOKE_FOR_ANOTHER = "it wrote to a channel that is not its own, or a child of it did"

NeedAddress = Callable[[str, int, Callable[[], None]], None]
"""Called with the App's own host and port; calls back once that is bound."""


class NoteScheme(Protocol):
    """Called with what the app of a generation speaks, once it is known."""

    def __call__(self, generation: int, *, is_tls: bool) -> None:
        """Take the word of a forkserver or worker."""


class Ears(Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        loop: The master's.
        reaper: Watches its end.
        tell: Takes what has become of it, as a fact for the planner.
        need_address: Binds the address that its app says.
        note_scheme: Learns whether its app speaks TLS.
        frames: Prints what its app raised.
        captured: Reads what it prints; None: nobody does.
        oom_kills: Tell a kill by the kernel from any other.
        blame: Finds whose a process is that speaks in the name of another.
    """

    loop: asyncio.AbstractEventLoop
    reaper: Reaper
    tell: Callable[[Fact], None]
    need_address: NeedAddress
    note_scheme: NoteScheme
    frames: FramesPrinter
    captured: CapturedOutput | None = None
    oom_kills: OomKills = field(default_factory=watch_own_group)
    blame: Blame = field(default_factory=Blame)

    def listen(
        self,
        own: socket.socket,
        parse: Callable[[bytes], FromChildT],
        hear: Callable[[FromChildT, int], None],
        accuse: Accuse,
        accuse_closed: Callable[[], None],
        find_pid: Callable[[], int | None],
        most_unread: int = MOST_UNREAD,
    ) -> ChildChannel[FromChildT]:
        """Hear what a child says.

        Args:
            own: The master's end.
            parse: Reads one message.
            hear: Takes it, with the pid that has sent it.
            accuse: Takes what the child did that none does, once.
            accuse_closed: Called ``CLOSED_S`` after it has closed its end.
            find_pid: Gives its pid; None while that is not known.
            most_unread: Orders that may wait for it.
        """

        def is_sender(pid: int) -> bool:
            return find_pid() in (None, pid)

        def note_end() -> None:
            # Its exit says more, and is about to be told.
            self.loop.call_later(CLOSED_S, accuse_closed)

        return ChildChannel(
            own,
            self.loop,
            parse=parse,
            on_message=hear,
            on_fault=accuse,
            on_end=note_end,
            is_sender=is_sender,
            on_foreign=lambda pid: self.blame.accuse(pid, SPOKE_FOR_ANOTHER),
            most_unread=most_unread,
        )
