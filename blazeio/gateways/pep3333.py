"""One call of a WSGI app, by PEP 3333: in the app's thread, and on the loop.

In the app's thread, a ``WsgiCall`` calls the app and iterates over what it returns. On
the loop, the request's own task does what that asks for: read the body, send a part,
send a file. The thread sleeps meanwhile; only a response that is complete with its
first part is handed over without waiting.

``wsgi.input``: of a body that has not arrived yet, a file that waits for it.
"""

import asyncio
import contextvars
import os
import queue
import stat
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from msgspec.structs import replace

from blazeio.errors import BlazeioError, LocalProtocolError
from blazeio.gateways.gateway import ClientLost, GatewayProtocol
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.messages import FilePart, ResponseStart, StartResponse

if TYPE_CHECKING:
    from blazeio.gateways.wsgi import ThreadPool, WsgiGateway


class BodyReader:
    """The body of a request, read in the app's thread as it arrives.

    Its end is an empty read, whatever the framing (``wsgi.input_terminated``).

    Args:
        pull: Waits for the next octets; b"" at the end. What it raises goes to the
            app.

    Attributes:
        pull: The same; replaced where the request is over.
    """

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self.pull = pull
        self._held = b""
        self._at = 0
        self._is_over = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many octets, fewer only at the end; all of them without a size."""
        if size is None or size < 0:
            parts = [self._take(len(self._held))]
            while self._fill():
                parts.append(self._take(len(self._held)))
            return b"".join(parts)
        while len(self._held) - self._at < size and self._fill():
            pass
        return self._take(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line with its end, or the first ``size`` octets of it."""
        most = -1 if size is None else size
        if most == 0:
            return b""
        searched = self._at
        while True:
            end = self._held.find(b"\n", searched) + 1
            if end and (most < 0 or end - self._at <= most):
                return self._take(end - self._at)
            if 0 <= most <= len(self._held) - self._at:
                return self._take(most)
            searched_bytes = len(self._held) - self._at
            if not self._fill():
                return self._take(searched_bytes)
            # What was searched once is not searched again: else a line that arrives in
            # many pieces would take the square of their number.
            searched = self._at + searched_bytes

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return all lines; with a hint, about so many octets of them."""
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self) -> None:
        """Do nothing: the body is the server's."""

    def _take(self, size: int) -> bytes:
        octets = self._held[self._at : self._at + size]
        self._at += len(octets)
        if self._at == len(self._held):
            self._held, self._at = b"", 0
        return octets

    def _fill(self) -> bool:
        """Wait for more; whether there is some."""
        if self._is_over:
            return False
        piece = self.pull()
        if not piece:
            self._is_over = True
            return False
        self._held = self._held[self._at :] + piece
        self._at = 0
        return True


FILE_BLOCK_BYTES: Final = 64 * 1024
"""So much of a file is read at once, where it cannot go by sendfile(2)."""

_NO_CONTENT: Final = (204, 304)


class _End:
    """The thread has ended the call: with an error, or None."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


_ENDED: Final = _End(None)


class FileWrapper:
    """``wsgi.file_wrapper``: a file that is sent by sendfile(2), where it has one.

    Args:
        file: Has ``read``, and may have ``close`` and ``fileno``.
        block_bytes: Read at once, where the file is read.

    Attributes:
        left_bytes: So much of it is still to be given; None: all that there is.
    """

    def __init__(self, file: Any, block_bytes: int = FILE_BLOCK_BYTES) -> None:
        self.file = file
        self._block_bytes = block_bytes
        self.left_bytes: int | None = None
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> "FileWrapper":
        return self

    def __next__(self) -> bytes:
        size, left = self._block_bytes, self.left_bytes
        octets: bytes = self.file.read(size if left is None else min(size, left))
        if not octets:
            raise StopIteration
        if left is not None:
            self.left_bytes = left - len(octets)
        return octets

    def find_part(self) -> FilePart | None:
        """Find what is left of a regular file; None where it is none."""
        try:
            descriptor = self.file.fileno()
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return FilePart(descriptor, self.file.tell(), self.left_bytes)
        except (AttributeError, OSError, ValueError):
            return None


class WsgiCall:
    """One call of the app, and what its thread asks the loop for.

    Args:
        gateway: Whose app is called.
        pool: Whose thread calls it.
        exchange: The request; touched on the loop alone.
        r: Its connection; likewise.

    Attributes:
        environ: Of the request.
        context: What the app runs in.
    """

    __slots__ = (
        "_answers",
        "_asked",
        "_exchange",
        "_gateway",
        "_is_abandoned",
        "_is_head",
        "_pool",
        "_r",
        "_reader",
        "_response",
        "_waiter",
        "_whole",
        "context",
        "environ",
    )

    environ: dict[str, Any]

    def __init__(
        self,
        gateway: "WsgiGateway",
        pool: "ThreadPool",
        exchange: HttpExchange,
        r: GatewayProtocol,
    ) -> None:
        self._gateway = gateway
        self._pool = pool
        self._exchange = exchange
        self._r = r
        self._is_head = r.method == "HEAD"
        self._response = StartResponse(self._write)
        self._reader: BodyReader | None = None
        self._asked: deque[Callable[[], Awaitable[None]] | _End] = deque()
        self._answers: queue.SimpleQueue[Any] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._whole: tuple[ResponseStart, bytes] | None = None
        self._is_abandoned = False
        # What the request's task has set, such as the span of a middleware, holds in
        # the thread that runs the app, too.
        self.context = contextvars.copy_context()

    def describe(self) -> str:
        """Return method and path, without the query, which may hold secrets."""
        path = self.environ["RAW_URI"].partition("?")[0]
        return f"{self.environ['REQUEST_METHOD']} {path}"

    def open_reader(self) -> BodyReader:
        """Return the body as it arrives; for the thread."""
        self._reader = reader = BodyReader(partial(self._ask, self._pull))
        return reader

    def release(self) -> None:
        """The request is over: what the app may still hold of it does not lead here.

        Else each request would be a cycle, with its environ and its body, and keep its
        memory until Python's collector looks: 10 objects of a hello, 17 of Flask's.
        """
        self._response.write = _refuse_late
        if self._reader is not None:
            self._reader.pull = _refuse_late

    # In the thread

    def run(self) -> None:
        """Call the app; all that a thread does of a request."""
        # Hot: runs once per request.
        try:
            if not self._is_abandoned and not self._r.transport.is_closing():
                self._run()
        except BaseException as error:
            if self._pool.is_forked:
                end_forked(error)
            self._pool.post(partial(self._note, _End(error)))
        else:
            self._pool.post(self._note_end)

    def _is_lost(self) -> bool:
        """Whether the client went away while nothing was sent to it."""
        return self._r.transport.is_closing()

    def _run(self) -> None:
        parts = self._gateway.app(self.environ, self._response)
        try:
            # One part is the whole of it, so its length is known (PEP 3333, "Handling
            # the Content-Length Header"): no chunks, and no waiting for the loop.
            if isinstance(parts, list | tuple) and len(parts) == 1:
                # A list has no close(): the end goes with it, in one wake-up.
                self._send_whole(parts[0], is_end=parts.__class__ is list)
            elif isinstance(parts, FileWrapper):
                self._send_wrapper(parts)
            else:
                self._send_parts(parts)
        finally:
            # Whatever has happened, also when not all of it was iterated over (PEP
            # 3333): a framework gives its database connection back here.
            close = getattr(parts, "close", None)
            if close is not None:
                close()

    def _send_parts(self, parts: Iterable[bytes]) -> None:
        is_complete = False
        for part in parts:
            if not _check(part):
                if self._is_abandoned or self._is_lost():
                    raise ClientLost("the request is over")
                continue  # PEP 3333: nothing is ready yet
            if is_complete:
                raise LocalProtocolError("more than the declared Content-Length")
            is_complete = self._send(part)
            if is_complete and self._is_silent():
                return  # of HEAD and of 204 and 304 the rest is not asked for
        if is_complete:
            return
        if self._response.has_left:
            self._ask(self._put_end)
        else:
            self._send_whole(b"")

    def _is_silent(self) -> bool:
        """Whether the response has no content, whatever the app gives."""
        start = self._response.start
        return self._is_head or (start is not None and start.status in _NO_CONTENT)

    def _send(self, part: bytes) -> bool:
        """Send a part; whether the response is complete with it."""
        if not self._response.has_left:
            if self._is_silent():
                self._send_whole(b"")
                return True
            if self._declared().fields.content_length == len(part):
                self._send_whole(part)
                return True
        self._write(part)
        return False

    def _declared(self) -> ResponseStart:
        start = self._response.start
        if start is None:
            raise LocalProtocolError("the app has not called start_response")
        return start

    def _send_whole(self, body: bytes, *, is_end: bool = False) -> None:
        """Hand over all of the response, without waiting.

        Args:
            body: All of its content.
            is_end: Nothing comes after it: what ends the call takes it along.
        """
        response = self._response
        if response.has_left:  # by write()
            self._ask(partial(self._exchange.put, _check(body), is_last=True))
            return
        start = response.start or self._declared()
        if body.__class__ is not bytes:
            _check(body)
        length = start.fields.content_length
        if length is not None and length != len(body) and not self._is_silent():
            _refuse_length(length, body)
        response.has_left = True
        if is_end:
            self._whole = start, body
        else:
            self._post(partial(self._put_whole, start, body))

    def _write(self, part: bytes, /) -> None:
        """Send a part and wait until it has left: the ``write`` of PEP 3333, too."""
        start = self._declared()
        if _check(part) or not self._response.has_left:
            has_left = self._response.has_left
            self._ask(partial(self._put, None if has_left else start, part))
            self._response.has_left = True

    def _send_wrapper(self, wrapper: FileWrapper) -> None:
        """Send a file to its end, or as far as its Content-Length says (PEP 3333)."""
        if not self._response.has_left:
            wrapper.left_bytes = self._declared().fields.content_length
        part = wrapper.find_part()
        if part is None:
            self._send_parts(wrapper)
        else:
            self._send_file(part)

    def _send_file(self, part: FilePart) -> None:
        start = self._declared()
        has_left = self._response.has_left
        self._ask(partial(self._put_file, None if has_left else start, part))

    def _ask(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run something on the event loop, and sleep until it is done.

        Raises:
            ClientLost: The client is gone.
        """
        if self._answers is None:
            self._answers = queue.SimpleQueue()
        self._post(partial(self._answer, work))
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _post(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._pool.post(partial(self._note, work))

    # On the loop

    def _note(self, work: Callable[[], Awaitable[None]] | _End) -> None:
        self._asked.append(work)
        waiter = self._waiter
        if self._is_abandoned:
            self._refuse_asked()
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _note_end(self) -> None:
        # Hot: runs once per request; the usual case of ``_note`` by hand.
        waiter = self._waiter
        if self._is_abandoned or waiter is None or waiter.done():
            self._note(_ENDED)
        else:
            self._asked.append(_ENDED)
            waiter.set_result(None)

    async def attend(self) -> BaseException | None:
        """Serve the thread until it has ended, and return what it raised."""
        asked = self._asked
        while True:
            while not asked:
                self._waiter = self._r.context.loop.create_future()
                await self._waiter
            work = asked.popleft()
            if isinstance(work, _End):
                break
            await work()
        # What another thread of the app asks for from now on is refused.
        self._is_abandoned = True
        if asked:
            self._refuse_asked()
        if self._whole is not None:
            self._exchange.answer(*self._whole)
        return work.error

    def client_is_lost(self) -> None:
        """The client is gone: a request that no thread has begun is over at once."""
        if self._pool.withdraw(self):
            self._note_end()

    def abandon(self) -> None:
        """The request is over on the loop's side: the thread is told when it asks."""
        self._is_abandoned = True
        self._refuse_asked()

    def _refuse_asked(self) -> None:
        while self._asked:
            self._asked.popleft()
            if self._answers is not None:
                self._answers.put(ClientLost("the request is over"))

    async def _answer(self, work: Callable[[], Awaitable[Any]]) -> None:
        answers = self._answers
        assert answers is not None  # the thread waits at it
        try:
            answer = await work()
        except (BlazeioError, OSError) as error:
            answer = error
        except BaseException:
            # The loop's side is cancelled. Without an answer the thread would sleep for
            # ever, and be missing in the pool.
            answers.put(ClientLost("the request is over"))
            raise
        answers.put(answer)

    async def _pull(self) -> bytes:
        if self._exchange.has_given_body:
            return b""
        message = await self._exchange.receive()
        if message["type"] != "http.request":
            raise ClientLost("the client went away before its content was whole")
        octets: bytes = message["body"]
        return octets

    async def _put_whole(self, start: ResponseStart, body: bytes) -> None:
        self._exchange.answer(start, body)

    async def _put(self, start: ResponseStart | None, part: bytes) -> None:
        if start is not None:
            self._exchange.hold(start)
        await self._exchange.put(part)

    async def _put_end(self) -> None:
        await self._exchange.put(b"", is_last=True)

    async def _put_file(self, start: ResponseStart | None, part: FilePart) -> None:
        if start is not None:
            self._exchange.hold(_declare_length(start, part))
        await self._exchange.put_file(part)


def _refuse_late(part: bytes = b"", /) -> NoReturn:
    raise ClientLost("the request is over")


def _check(part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    kind = type(part).__name__
    raise LocalProtocolError(f"a part of the response is a {kind}, expected bytes")


def _declare_length(start: ResponseStart, part: FilePart) -> ResponseStart:
    """Declare the length of a file: without chunks, sendfile(2) can send it."""
    if start.fields.content_length is not None:
        return start
    size = max(os.fstat(part.file).st_size - (part.offset or 0), 0)
    return replace(start, fields=replace(start.fields, content_length=size))


def _refuse_length(length: int, body: bytes) -> NoReturn:
    """Refuse in the app's thread what its Content-Length does not say."""
    raise LocalProtocolError(
        f"the response has {len(body)} octets, and declares Content-Length: {length}"
    )


def end_forked(error: BaseException) -> NoReturn:
    """End a child that the work has forked, as Python would for what it raised."""
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    elif isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Not ``sys.exit``, which in a thread ends nothing else and gives no status. The
        # exit handlers, the loop and its epoll instance are the parent's. A status has
        # eight bits (man 3 exit).
        os._exit((code or 0) & 0xFF if isinstance(code, int | None) else 1)
