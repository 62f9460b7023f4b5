"""``WsgiGateway``: a WSGI app (PEP 3333) as the handler of requests.

``ThreadPool``: a bounded set of threads that run them. All threads take from one
queue, which hands each item to one of them without a lock of Python's. What they have
for the loop waits in a deque, and the loop is woken once for all that has come
meanwhile: one wake-up costs a system call and a turn of the GIL, and under load most
results find one under way.
"""

import asyncio
import contextvars
import io
import os
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import dropwhile
from types import FrameType
from typing import Any, Final, Protocol
from weakref import WeakSet

from blazeio.gateways.gateway import Gateway, GatewayProtocol, find_facts, find_head
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.pep3333 import FileWrapper, WsgiCall, end_forked
from blazeio.gateways.scope import make_environ, move_prefix
from blazeio.loggers import Lines, get_logger
from blazeio.protocol.flow import NO_CONTENT, ContentStream

log = get_logger("blazeio.app")

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

THREADS: Final = 4
"""How many requests of an app run at once, unless it is said otherwise."""

COLLECTED_BYTES: Final = 64 * 1024
"""A body that declares no more is awaited on the loop: a client that sends it slowly
holds no thread."""


HELD_S: Final = 1.0
"""Threads are held if so long none of them comes back, though requests wait for one."""

HELD_TOLD_S: Final = 10.0
"""If that lasts for so long, it is told, with the stacks of some of them."""

HELD_SHOWN: Final = 4

STOP_S: Final = 1.0
"""At the end, threads whose requests were cut have this long to come back."""


class WsgiGateway(Gateway):
    """Serves requests by a WSGI app, in threads.

    Args:
        app: Called for each request.
        name: How it is called in the log.

    Attributes:
        threads: How many requests run at once; it counts until ``begin``.
        is_multiprocess: Other processes may serve the same app.
        on_stuck: Called where threads do not come back: with what they run, on one
            line, and with their stacks.
    """

    def __init__(self, app: WsgiApp, name: str) -> None:
        super().__init__(name)
        self.app = app
        self.threads = THREADS
        self.is_multiprocess = False
        self.on_stuck: Callable[[str, str], None] = _log_stuck
        self._pool: ThreadPool | None = None
        self._held: list[Job] = []
        self._held_since = 0.0
        self._is_held_told = False
        self._of_gateway: dict[str, Any] = {}

    @property
    def busy(self) -> int:
        """How many threads are at work."""
        return 0 if self._pool is None else self._pool.busy

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return 0 if self._pool is None else self._pool.waiting

    def are_threads_held(self, now: float) -> bool:
        """Tell whether for a while no thread has come back, though requests wait.

        To be asked several times a second; what lasts is told by ``on_stuck``.

        Args:
            now: Monotonic seconds.
        """
        # A look from outside, and no note of each request, which would pay for it.
        pool = self._pool
        held = [] if pool is None else pool.find_held()
        if pool is None or not held or held != self._held:
            # Once they are held, it takes one that comes back to end that: that nobody
            # waits any more may only mean that the clients have given up.
            self._held = held if pool is not None and pool.waiting else []
            self._held_since, self._is_held_told = now, False
            return False
        held_s = now - self._held_since
        if held_s >= HELD_TOLD_S and not self._is_held_told:
            self._is_held_told = True
            self._tell_held(held, held_s)
        return held_s >= HELD_S

    def _tell_held(self, held: "list[Job]", held_s: float) -> None:
        pool = self._pool
        assert pool is not None  # it has these threads
        shown = held[:HELD_SHOWN]
        more = ", ..." if len(held) > len(shown) else ""
        self.on_stuck(
            f"{self._name}: for {held_s:.0f} s none of its {len(held)} threads has "
            f"come back, and {pool.waiting} wait for one: "
            f"{', '.join(job.describe() for job in shown)}{more}",
            "\n".join(pool.find_stack(job) for job in shown),
        )

    def begin(self) -> None:
        """Serve on the running loop from now on."""
        self._pool = ThreadPool(self.threads, asyncio.get_running_loop())
        self._of_gateway = {
            "wsgi.version": (1, 0),
            "wsgi.multithread": self.threads > 1,
            "wsgi.multiprocess": self.is_multiprocess,
            "wsgi.run_once": False,
            # Not of PEP 3333: an empty read is the end of the body, whatever its
            # framing. Without it Werkzeug takes a body without Content-Length as empty.
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    async def stop(self) -> None:
        """End the threads; one that does not come back is named with its stack."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        self._held = []
        left = await pool.stop(STOP_S)
        if left:
            text = f"{self._name}: left behind, still at work at the end"
            running = ", ".join(asked for asked, _ in left)
            self.on_stuck(f"{text}: {running}", "\n".join(stack for _, stack in left))

    def serve(self, r: GatewayProtocol) -> Awaitable[object]:
        """Serve one request: the handler of connections of ``GatewayProtocol``."""
        exchange = HttpExchange(r, self, r.content, r.response.gate)
        return self.call(r, exchange, self.root_path, "")

    async def call(
        self, r: GatewayProtocol, exchange: HttpExchange, root_path: str, prefix: str
    ) -> object:
        """Serve one request; see ``Gateway.call``."""
        # Hot: runs once per request.
        pool = self._pool
        assert pool is not None  # begin came before
        method, target = r.method, r.tail
        if not r.path:  # CONNECT alone has none
            self.refuse_tunnel(r)
            return None
        content = r.content
        reader: Any
        if content is NO_CONTENT:
            reader = io.BytesIO()
        else:
            if _may_collect(r, content) and not await exchange.collect(content):
                return self.end(exchange, f"{method} {target}")
            whole = content.take_whole(COLLECTED_BYTES)
            reader = None if whole is None else io.BytesIO(whole)
        call = WsgiCall(self, pool, exchange, r)
        facts = find_facts(r)
        head = find_head(r) if prefix else r.response.head
        call.environ = environ = make_environ(head, facts, root_path)
        if prefix:
            move_prefix(environ, prefix)
        environ |= self._of_gateway
        environ["wsgi.input"] = call.open_reader() if reader is None else reader
        environ["wsgi.url_scheme"] = facts.scheme
        environ["wsgi.errors"] = sys.stderr
        r.when_lost = call.client_is_lost
        pool.submit(call)
        try:
            left = await call.attend()
        except BaseException as error:
            # In this order: a thread that takes the call in this very moment cannot be
            # stopped by ``withdraw`` any more, but sees before it begins that the call
            # was abandoned.
            call.abandon()
            pool.withdraw(call)
            if r.handler_task.is_late:
                self._tell_stuck(pool, call)
            if exchange.end_background is None and r.handler_task.is_ended_by(error):
                raise
            return self.end(exchange, f"{method} {target}", error)
        finally:
            # ``r`` serves the next request of the connection, whose loss is not this
            # call's.
            r.when_lost = None
            call.release()
        if left is None:
            exchange.has_returned = True
            if exchange.is_over and exchange.end_background is None:
                return None
        return self.end(exchange, f"{method} {target}", left)

    def _tell_stuck(self, pool: "ThreadPool", call: WsgiCall) -> None:
        """A request was given up by its deadline: does a thread still run it?"""
        stack = pool.find_stack(call)
        if stack:
            text = f"{self._name}: beyond its time, and holds a thread"
            busy = f"{pool.busy} of {pool.count} are at work"
            self.on_stuck(f"{text}: {call.describe()} ({busy})", stack)


def _log_stuck(text: str, stack: str) -> None:
    log.error("%s\n%s", text, Lines(stack.rstrip()))


def _may_collect(r: GatewayProtocol, content: ContentStream) -> bool:
    """Tell whether a body is small, and its client does not wait for a 100."""
    # A client that expects a 100 gets it when the app reads, and may be told a final
    # status instead (RFC 9110 section 10.1.1).
    if content.is_whole or r.headers.get("expect") is not None:
        return False
    return 0 <= content.due_bytes <= COLLECTED_BYTES and r.content_length is not None


Work = Callable[[], None]


class Job(Protocol):
    """What a thread runs.

    Attributes:
        context: It runs there.
    """

    context: contextvars.Context

    def run(self) -> None:
        """Do the work; must not raise."""
        ...

    def describe(self) -> str:
        """Say what it is, on one line."""
        ...


JOIN_S: Final = 0.05
"""How often the end of the threads is looked at."""


class ThreadPool:
    """Threads that are made with the first work, so after a fork.

    Args:
        count: How many.
        loop: What they give their results to.

    Attributes:
        is_forked: This is a child that the work has forked: nobody serves in it.
    """

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.count = count
        self._loop = loop
        self.is_forked = False
        _pools.add(self)
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        # A SimpleQueue gives nothing back: what is withdrawn stays in it, is no longer
        # in here, and is passed over by the thread that takes it.
        self._waiting: set[Job] = set()
        self._posted: deque[Work] = deque()
        self._is_woken = False
        self._threads: list[threading.Thread] = []
        self._running: dict[int, Job] = {}

    @property
    def busy(self) -> int:
        """How many threads are at work."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Run it in a thread, after what came before."""
        if len(self._threads) < self.count:
            self._start()
        self._waiting.add(job)
        self._queue.put(job)

    def withdraw(self, job: Job) -> bool:
        """Take back what no thread has begun; whether that could be done."""
        try:
            self._waiting.remove(job)  # atomic: a thread takes it, or it is taken back
        except KeyError:
            return False
        return True

    def post(self, call: Work) -> None:
        """Call something on the loop; from a thread."""
        if self.is_forked:
            end_forked(RuntimeError("a process that is forked must end by itself"))
        self._posted.append(call)
        # Two threads may find it False at once. Then the loop is woken twice, and the
        # second time it finds nothing: a lock would cost every result more than that.
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._call_posted)
            except RuntimeError:  # the loop is closed: nobody waits for it
                pass

    def _call_posted(self) -> None:
        # First: what is appended from here on wakes the loop again.
        self._is_woken = False
        posted = self._posted
        # As many as there are now: what they post themselves waits for the next turn,
        # or busy threads would keep the loop from its sockets.
        for _ in range(len(posted)):
            posted.popleft()()
        if posted and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._call_posted)

    def _start(self) -> None:
        while len(self._threads) < self.count:
            name = f"wsgi-{len(self._threads)}"
            # A daemon: one that never comes back must not hold the process.
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        # Hot: a turn runs once per request.
        take = self._queue.get
        running, own, waiting = self._running, threading.get_ident(), self._waiting
        while True:
            job = take()
            if job is None:
                return
            try:
                waiting.remove(job)
            except KeyError:  # it was taken back
                continue
            running[own] = job
            job.context.run(job.run)
            # What it has of a request is not kept while this thread waits.
            del running[own], job

    def find_held(self) -> list[Job]:
        """Return what the threads run, where all are at work."""
        if len(self._running) < self.count:
            return []
        return list(self._running.copy().values())

    def find_stack(self, job: Job) -> str:
        """Find where the thread is that runs a job; "" where none does."""
        # A copy, made in one step of the interpreter: threads change it meanwhile, and
        # a dict that changes cannot be iterated over.
        for ident, running in self._running.copy().items():
            if running is job:
                return _find_stack(ident)
        return ""

    async def stop(self, span_s: float) -> list[tuple[str, str]]:
        """End the threads once they have done what is queued.

        Args:
            span_s: How long they may take.

        Returns:
            Of each that is still at work, what it runs, and its stack.
        """
        for _ in self._threads:
            self._queue.put(None)
        ends_at = self._loop.time() + span_s
        while any(thread.is_alive() for thread in self._threads):
            if self._loop.time() >= ends_at:
                break
            # ``Thread.join`` would block the loop, and the threads need it to come to
            # their end.
            await asyncio.sleep(min(JOIN_S, max(ends_at - self._loop.time(), 0)))
        self._threads.clear()
        left = self._running.copy().items()
        return [(job.describe(), _find_stack(ident)) for ident, job in left]


# To ask for the process id instead is a system call for each result: 0.4 us.
_pools: Final[WeakSet[ThreadPool]] = WeakSet()


def _note_fork() -> None:
    for pool in _pools:
        pool.is_forked = True


os.register_at_fork(after_in_child=_note_fork)


def _find_stack(ident: int) -> str:
    """Return the stack of a thread, from the app's own frame on."""
    innermost = sys._current_frames().get(ident)
    if innermost is None:
        return ""
    frames = reversed(list(traceback.walk_stack(innermost)))
    of_app = dropwhile(lambda pair: _is_before_app(pair[0]), frames)
    return "".join(traceback.StackSummary.extract(iter(list(of_app))).format())


def _is_before_app(frame: FrameType) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name == "threading" or name.startswith("blazeio.")
