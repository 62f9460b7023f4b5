"""``web.broadcast``: a message to every process of the service.

A message is a value that MessagePack has: text, octets, numbers, lists, dicts. The
handlers of this process get it in the order of the calls, one message after the
other; the other processes get it by a *carrier*, which a supervisor provides. Nothing
waits: where there is no room, a message is dropped and counted. All of it happens in
the loop that serves the app; a message that is sent in another thread goes there first.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from blazeio.app.endpoints import describe
from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger

log = get_logger("blazeio.app")

MESSAGE_BYTES = 32 * 1024
"""The longest message, as it is sent."""
INBOX_COUNT = 1_000
"""Messages that wait for the handlers of one process."""

BroadcastHandler = Callable[[Any], Any]
Carrier = Callable[[bytes], bool]


class Broadcasts:
    """The handlers of one app, and the way to those of other processes.

    Attributes:
        carrier: Takes a message to the other processes; False: it was dropped. None:
            there is no other process.
        dropped: Messages that this process has dropped: sent, but not carried, or
            received, but too many.
    """

    def __init__(self) -> None:
        self.carrier: Carrier | None = None
        self.dropped = 0
        self._handlers: list[BroadcastHandler] = []
        self._inbox: deque[bytes] = deque()
        self._task: asyncio.Task[None] | None = None
        self._outer: Broadcasts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Note the loop that serves the app: it is the one that runs."""
        self._loop = asyncio.get_running_loop()

    def include(self, inner: "Broadcasts") -> None:
        """Let the handlers of a mounted app be handlers of this one."""
        self._home._handlers += inner._handlers
        inner._handlers, inner._outer = [], self

    @property
    def _home(self) -> "Broadcasts":
        return self if self._outer is None else self._outer._home

    def add(self, handler: BroadcastHandler) -> None:
        """Call this with each message.

        Raises:
            ConfigurationError: It does not take one argument.
        """
        try:
            inspect.signature(handler).bind(None)
        except TypeError as error:
            text = f"on_broadcast: {describe(handler)} takes the message: {error}"
            raise ConfigurationError(text) from None
        self._home._handlers.append(handler)

    def send(self, message: Any) -> bool:
        """Send a message to every process, also to this one; in any thread.

        Returns:
            False: it was dropped, and only this process gets it. In another thread
            than the loop's that is not known yet, and counted later.

        Raises:
            ValueError: It is too long, or no value of MessagePack.
        """
        home = self._home
        try:
            # Encoded even where there is no other process: what passes in a test or on
            # a developer's machine passes under a supervisor too, and no handler gets
            # the sender's own object.
            octets = msgspec.msgpack.encode(message)
        except (TypeError, OverflowError, UnicodeEncodeError) as error:
            text = f"broadcast({message!r:.60}): {error}"
            raise ValueError(text) from None
        if len(octets) > MESSAGE_BYTES:
            text = f"broadcast: {len(octets):,} octets, of at most {MESSAGE_BYTES:,}"
            raise ValueError(text)
        if home._loop is None or home._loop is asyncio._get_running_loop():
            return home._pass_on(octets)
        try:
            home._loop.call_soon_threadsafe(home._pass_on, octets)
        except RuntimeError:  # closed: the app is not served any more
            home.dropped += 1
            return False
        return True

    def _pass_on(self, octets: bytes) -> bool:
        is_carried = self.carrier is None or self.carrier(octets)
        self.dropped += not is_carried
        self.receive(octets)
        return is_carried

    def receive(self, octets: bytes) -> None:
        """Take a message, in the loop's thread; the handlers get it in a turn of it."""
        if not self._handlers:
            return
        # A private function, since ``get_running_loop`` raises where none runs, and the
        # question is asked for each message.
        loop = asyncio._get_running_loop()
        if loop is None or len(self._inbox) >= INBOX_COUNT:
            self.dropped += 1  # an app that is imported handles nothing yet
            return
        self._inbox.append(octets)
        if self._task is None:
            self._task = loop.create_task(self._deliver(), name="broadcast")

    async def _deliver(self) -> None:
        try:
            while self._inbox:
                octets = self._inbox.popleft()
                for handler in self._handlers:
                    await _call(handler, octets)
        finally:
            # No message is left behind: nothing is awaited between the last look at the
            # inbox and here. A task that was cancelled is followed by another one at
            # the next message.
            self._task = None


async def _call(handler: BroadcastHandler, octets: bytes) -> None:
    try:
        # Decoded for each: one handler may change what it was given.
        result = handler(msgspec.msgpack.decode(octets))
        if inspect.isawaitable(result):
            await result
    except Exception:
        log.exception("broadcast handler %s failed", describe(handler))
