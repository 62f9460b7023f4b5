"""What all requests of one session share.

May import: the room but session and response.
"""

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from blazeio.client.rules.cookie_jar import CookieJar
from blazeio.client.settings import ClientTls, PoolLimits, Timeouts
from blazeio.errors import FieldInput
from blazeio.limits import Limits
from blazeio.protocol.context import RECEIVE_BUFFER_BYTES, keep_heap
from blazeio.protocol.timing.deadlines import DeadlineWheel
from blazeio.wire.headers import Headers

if TYPE_CHECKING:
    from blazeio.client.connections.lending import Lender


class _ThreadBuffer(threading.local):
    """A receive buffer for each thread, since a thread runs one loop at a time.

    Made on first use. No view of it outlives one ``buffer_updated``.
    """

    view: memoryview | None = None


_buffer = _ThreadBuffer()


def receive_view() -> memoryview:
    """The receive buffer of this thread."""
    view = _buffer.view
    if view is None:
        view = _buffer.view = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        keep_heap()
    return view


class ClientContext:
    """Shared by the requests of one session, on one loop.

    Attributes:
        loop: Where its connections live.
        limits: Of heads, content and buffers.
        timeouts: Where a request has none of its own.
        pool_limits: Of connections.
        tls: How https is spoken.
        unix: Path of a socket that is connected to, whatever the URL says.
        fields: Sent with each request that has none of the same name.
        compress: Content may be encoded, where a request does not say.
        cookies: Kept and given back; None: they are not.
        lender: Of connections.
        wheel: For the deadlines of connections.
        view: What is received into.
        is_closed: Nothing can be asked any more.
    """

    __slots__ = (
        "compress",
        "cookies",
        "fields",
        "is_closed",
        "lender",
        "limits",
        "loop",
        "pool_limits",
        "timeouts",
        "tls",
        "unix",
        "view",
        "wheel",
    )

    lender: "Lender"

    def __init__(
        self,
        *,
        limits: Limits,
        timeouts: Timeouts,
        pool_limits: PoolLimits,
        tls: ClientTls,
        unix: str | None,
        fields: FieldInput | Headers | None,
        compress: bool,
        cookies: CookieJar | None,
    ) -> None:
        self.loop: Any = asyncio.get_running_loop()
        self.limits = limits
        self.timeouts = timeouts
        self.pool_limits = pool_limits
        self.tls = tls
        self.unix = unix
        self.fields = fields
        self.compress = compress
        self.cookies = cookies
        self.wheel = DeadlineWheel(self.loop)
        self.view = receive_view()
        self.is_closed = False
