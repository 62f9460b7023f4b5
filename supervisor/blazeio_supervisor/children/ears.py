"""What a child of the master is heard by, whether forkserver or worker."""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct, field

from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.observe.lines.captured import CapturedOutput
from blazeio_supervisor.observe.logs import FramesPrinter
from blazeio_supervisor.observe.oom_kills import OomKills, watch_own_group
from blazeio_supervisor.process.channel import LoopChannel
from blazeio_supervisor.process.messages import Message
from blazeio_supervisor.process.reaper import Reaper

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
    """

    loop: asyncio.AbstractEventLoop
    reaper: Reaper
    tell: Callable[[Fact], None]
    need_address: NeedAddress
    note_scheme: NoteScheme
    frames: FramesPrinter
    captured: CapturedOutput | None = None
    oom_kills: OomKills = field(default_factory=watch_own_group)

    def listen(
        self, own: socket.socket, hear: Callable[[Message, list[int]], None]
    ) -> LoopChannel:
        """Hear what it says; its exit tells more than its channel's end."""
        return LoopChannel(own, self.loop, hear, lambda: None)
