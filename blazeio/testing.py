"""``TestServer``: an app on a real socket, for the tests of its developer."""

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from blazeio.app.app import App
from blazeio.protocol.process import new_loop, run_through
from blazeio.server.acceptor import bind
from blazeio.server.server import Server

GRACE_S = 2.0
"""How long requests in flight may take at the end, seconds."""
CUT_S = 1.0
"""How long a handler that was cancelled then may clean up, seconds."""


class TestServer:
    """Serve an app on 127.0.0.1, on a free port, while a block runs.

    ``with TestServer(web) as server:`` serves it from a thread with a loop of its own,
    so that the test may use any blocking client. ``async with`` serves it on the loop
    of the test. Hooks and tasks run as in production; an exception of a start hook is
    raised where the block begins.

    Args:
        app: It may be served any number of times, one after the other.
        host: Where it listens.
        grace_s: After this, seconds, requests in flight are cut at the end.

    Attributes:
        app: As given.
        host: As given.
        port: The port of the socket; 0 outside of the block.
        server: The ``Server``; only within the block.
    """

    __test__ = False  # pytest collects classes named Test*

    server: Server

    def __init__(
        self, app: App[Any], *, host: str = "127.0.0.1", grace_s: float = GRACE_S
    ) -> None:
        self.app = app
        self.host = host
        self.port = 0
        self._grace_s = grace_s
        self._is_serving: Future[None] = Future()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()

    def __repr__(self) -> str:
        return f"<TestServer {self.url} of {self.app!r}>"

    @property
    def url(self) -> str:
        """``http://127.0.0.1:12345``, no slash at its end."""
        scheme = "http" if self.app.tls is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    # On the loop of the test

    async def __aenter__(self) -> "TestServer":
        """Serve on the running loop.

        Raises:
            ConfigurationError: The app cannot be served, or the host not bound.
        """
        try:
            await self.app.init()
            self.server = self.app.make_server(asyncio.get_running_loop())
            with bind(self.host, 0) as listener:
                self.port = listener.getsockname()[1]
                self.server.accept_from(listener)  # it has a dup of it
        except BaseException:
            await self.app.stop_hooks()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish the requests in flight, then end the app."""
        self.port = 0
        server = self.server
        try:
            server.stop_accepting()
            server.start_draining(0)
            await self.app.drain_hooks()
            if not await server.drained_within(self._grace_s):
                server.cancel()
                await server.drained_within(CUT_S)
        finally:
            server.close()
            await self.app.stop_hooks()

    # On a loop of its own

    def __enter__(self) -> "TestServer":
        """Serve from a thread.

        Raises:
            ConfigurationError: The app cannot be served, or the host not bound.
        """
        self._is_serving = Future()
        self._thread = threading.Thread(target=self._run, name=f"{self!r}", daemon=True)
        self._thread.start()
        try:
            self._is_serving.result()
        except Exception:
            self._thread.join()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the requests in flight, then end the app and the thread."""
        assert self._loop is not None  # set by __enter__
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            loop = runner.get_loop()
            run_through(loop, loop.create_task(self._serve()))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        try:
            await self.__aenter__()
        except BaseException as error:
            self._is_serving.set_exception(error)
            return
        self._is_serving.set_result(None)
        await self._end.wait()
        await self.__aexit__()
