"""The profile of a worker, taken while it is ordered; else there is nothing of it.

Two things look where the code is, a hundred times a second. What works in the thread
of the loop is seen by a timer of the kernel (``ITIMER_PROF``): it counts processor
time, and the handler of its signal runs in that thread, between two bytecodes. A
thread that looks from outside could not do that: it gets the GIL when the loop waits
for its sockets, so that is all that it would see. But it sees what the timer does
not: other threads, and a loop that is blocked and takes no processor time. It reads
``sys._current_frames``; neither needs a right that the process has not.

The order comes by a signal, too, so a profile begins also while Python code blocks
the loop.
"""

import array
import asyncio
import concurrent.futures.thread
import dis
import os
import select
import selectors
import signal
import socket
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import msgspec

from blazeio.protocol.handler_task import HandlerTask
from blazeio_supervisor.ipc.status_api import (
    DEPTH_COUNT,
    LINE_COUNT,
    NAME_CHARS,
    PROGRESS_EVERY_S,
    RATE_HZ,
    STACK_COUNT,
    MemoryLine,
    Profiled,
    ProfileWish,
    Sampled,
)
from blazeio_supervisor.worker.stack_dump import trace

_FD = array.array("i").itemsize
_WISH_BYTES = 4096
_WORKED = 0.1
"""A thread that ran, or could have run, for less than this share of time has waited."""
_WORKED_ON = 0.9
"""A thread that did for more than this share has hardly waited."""
_SELDOM = 5
"""While the loop works on and no other thread does, each fifth look is taken: the timer
sees the loop, and each look from outside has it wait for the GIL."""
_RESUME = dis.opmap["RESUME"]
_TASKS_EVERY = 10
"""Tasks that wait are looked at in each tenth sample only: there may be many."""
_TASK_COUNT = 200
"""The most tasks that are looked at in one sample."""
_UNREAD_S = 5.0
"""The master does not read for so long: the profile is given up."""
_CUT, _OTHERS = "(outer frames)", "(other stacks)"
_LOOP = "event loop"
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
_MACHINERY = (
    _OWN,
    _ASYNCIO,
    "<frozen ",
    *(str(m.__file__) for m in (threading, selectors, concurrent.futures.thread)),
)
"""What stands around the code of an app, in every thread."""
_LOOP_MODULE = os.path.join("blazeio", "server", "loop.py")

Key = tuple[str | int, ...]
"""Texts, and code by its ``id``: code itself is hashed anew, all of its constants, each
time that it is looked for, which took half of a sample."""


def receive_wish(asker: socket.socket) -> tuple[ProfileWish, socket.socket] | None:
    """Receive an order and the socket for its answer; None: there is none."""
    try:
        octets, ancillary, _, _ = asker.recvmsg(
            _WISH_BYTES,
            socket.CMSG_SPACE(_FD),
            socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
        )
    except OSError:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _FD])
    if not fds:
        return None
    sock = socket.socket(fileno=fds[0])
    sock.settimeout(_UNREAD_S)
    return msgspec.json.decode(octets, type=ProfileWish), sock


class ProfileOrders:
    """Begins the profiles that are ordered; its methods are handlers of signals.

    Args:
        asker: Where the orders come.
        find_loop: Returns the loop of this worker; None: it does not run yet.
    """

    def __init__(
        self,
        asker: socket.socket,
        find_loop: Callable[[], asyncio.AbstractEventLoop | None],
    ) -> None:
        self._asker = asker
        self._find_loop = find_loop
        self._profiler: Profiler | None = None

    def begin(self, *_: object) -> None:
        """Begin what was ordered, in the thread of the loop."""
        received = receive_wish(self._asker)
        if received is None:
            return
        wish, sock = received
        profiler = Profiler(wish, sock, self._find_loop())
        if not wish.is_of_memory and self._is_taken():
            text = "the app uses SIGPROF itself, by which a profile is taken"
            profiler.fail(RuntimeError(text))
        elif not wish.is_of_memory:
            # It stays: the last signal may come when all is over.
            signal.signal(signal.SIGPROF, self._tick)
            signal.siginterrupt(signal.SIGPROF, False)
            self._profiler = profiler
        threading.Thread(
            target=profiler.run, name="blazeio-profiler", daemon=True
        ).start()

    def _is_taken(self) -> bool:
        """Whether the app has a profiler of its own."""
        handler = signal.getsignal(signal.SIGPROF)
        if handler == self._tick:  # of the profile before
            return False
        is_timed = any(signal.getitimer(signal.ITIMER_PROF))
        return is_timed or handler not in (signal.SIG_DFL, signal.SIG_IGN)

    def _tick(self, _: int, frame: FrameType | None) -> None:
        profiler = self._profiler
        if profiler is None:
            return
        try:
            if not profiler.tick(frame):
                self._profiler = None
        except Exception as error:  # it would come out of the app's own code
            self._profiler = None
            profiler.fail(error)


class Profiler:
    """Takes one profile.

    Args:
        wish: What is wanted.
        sock: To the master.
        loop: The loop of this worker; None: it does not run yet. This is made in the
            thread that runs it.
    """

    def __init__(
        self,
        wish: ProfileWish,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._wish = wish
        self._sock = sock
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._counts: dict[Key, int] = {}
        self._codes: dict[
            int, CodeType
        ] = {}  # also keeps them, so that no id is reused
        self._resumes: dict[int, frozenset[int]] = {}
        # After a fork ``Thread.native_id`` is that of the parent, before 3.12.
        clock = ThreadClock(threading.get_native_id())
        self._clocks = {self._loop_thread: clock}
        self._names: dict[int, str] = {}
        self._machinery: dict[str, bool] = {}
        self._waiting = 0
        self._samples = 0
        self._labelled: asyncio.Task[Any] | None = None
        self._label = ""
        self._is_over = False
        self._loop_cpu_s = time.thread_time()
        self._ticks_s = 0.0
        self._error: Exception | None = None

    def run(self) -> None:
        """Take it, and send it; whatever is wrong with it is the answer."""
        with self._sock:
            try:
                take = self._compare if self._wish.is_of_memory else self._sample
                answer = take()
            except (BrokenPipeError, ConnectionError, TimeoutError):
                return  # nobody waits for it any more
            except Exception as error:
                text = f"the profile has failed: {type(error).__name__}: {error}"
                answer = Profiled(failure=text[:NAME_CHARS])
            finally:
                for clock in self._clocks.values():
                    clock.close()
            try:
                self._sock.sendall(msgspec.json.encode(answer) + b"\n")
            except OSError:
                pass  # likewise

    # By samples

    def _sample(self) -> Profiled:
        own, began_at = threading.get_ident(), time.monotonic()
        began_cpu_s = time.thread_time()
        told_at = now = began_at
        ends_at = began_at + self._wish.seconds
        every = 1
        if self._error is not None:
            raise self._error
        signal.setitimer(signal.ITIMER_PROF, 1 / RATE_HZ, 1 / RATE_HZ)
        try:
            while now < ends_at and self._is_wanted():
                # What was missed is not made up for: it would be at one moment.
                due_at = began_at + (int((now - began_at) * RATE_HZ) + every) / RATE_HZ
                time.sleep(max(0.0, due_at - now))
                is_watched = self._look(own, every)
                self._samples += every
                every = _SELDOM if is_watched and not self._wish.is_whole else 1
                if self._error is not None:
                    raise self._error
                now = time.monotonic()
                if now >= told_at + PROGRESS_EVERY_S:
                    told_at = now
                    line = msgspec.json.encode(Sampled(self._samples))
                    self._sock.sendall(line + b"\n")
        finally:
            self._is_over = True
            signal.setitimer(signal.ITIMER_PROF, 0.0)
        cpu_s = time.thread_time() - began_cpu_s + self._ticks_s
        return self._describe(time.monotonic() - began_at, cpu_s)

    def fail(self, error: Exception) -> None:
        """End it: what it has met is the answer."""
        self._error = error

    def tick(self, frame: FrameType | None) -> bool:
        """Count where the thread of the loop works; False when the profile is over.

        Called in that thread, by the handler of SIGPROF. How much of the processor it
        had since the last call decides what this one counts for: C code delays it.
        """
        # Hot: runs a hundred times a second, in the thread that serves.
        if self._is_over:
            return False
        cpu_s = time.thread_time()
        weight = round((cpu_s - self._loop_cpu_s) * RATE_HZ)
        if weight:
            self._loop_cpu_s = cpu_s
            stack = self._walk(self._leave_entry(frame))
            self._count((self._name_work() if stack else _LOOP, *stack), weight)
            self._ticks_s += time.thread_time() - cpu_s
        return True

    def _is_wanted(self) -> bool:
        """Whether the master still waits; its end says nothing, it can only close."""
        return not select.select([self._sock], [], [], 0)[0]

    def _look(self, own: int, weight: int) -> bool:
        """Look at each thread but one; whether the timer sees all that works.

        Args:
            own: This thread.
            weight: For so many samples this one stands.
        """
        # Hot: runs a hundred times a second, while every other thread waits for it.
        is_watched = True
        for ident, frame in sys._current_frames().items():
            if ident != own and not self._count_thread(ident, frame, weight):
                is_watched = False
        if self._wish.is_whole and self._samples % _TASKS_EVERY == 0:
            self._count_tasks()
        return is_watched

    def _count_thread(self, ident: int, frame: FrameType, weight: int) -> bool:
        """Count where a thread is; False: the next look should not be late."""
        share = self._find_clock(ident).measure()
        if ident == self._loop_thread and share > _WORKED:
            return share > _WORKED_ON  # the timer sees it
        stack = self._walk(frame)
        if ident == self._loop_thread:
            root = self._name_work()
            is_blocked = root != _LOOP
        else:
            root = f"thread {self._name_thread(ident)}"
            is_blocked = bool(stack) and share > _WORKED
        if is_blocked:
            self._count((root, *stack), weight)
            return False
        self._waiting += weight
        if self._wish.is_whole:
            self._count(("waiting", root, *stack), weight)
        return ident != self._loop_thread

    def _count(self, key: Key, weight: int) -> None:
        counts = self._counts
        if key not in counts and len(counts) >= STACK_COUNT:
            key = (_OTHERS,)
        counts[key] = counts.get(key, 0) + weight

    def _walk(self, frame: FrameType | None) -> list[str | int]:
        """Return the stack, the outermost frame first, without what is around it."""
        codes: list[CodeType] = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        while codes and self._is_machinery(codes[-1].co_filename):
            codes.pop()
        codes.reverse()
        cut: list[str | int] = [_CUT] if len(codes) > DEPTH_COUNT else []
        return cut + [self._find_id(code) for code in codes[-DEPTH_COUNT:]]

    def _find_id(self, code: CodeType) -> int:
        self._codes[id(code)] = code
        return id(code)

    def _leave_entry(self, frame: FrameType | None) -> FrameType | None:
        """Return the frame that has worked until now.

        Signals are looked at when a function is entered or goes on, so one that came
        while its caller was at work is handled there.
        """
        while frame is not None and frame.f_lasti in self._find_resumes(frame.f_code):
            frame = frame.f_back
        return frame

    def _find_resumes(self, code: CodeType) -> frozenset[int]:
        """Return where a function is entered, or goes on: read once, it is copied."""
        found = self._resumes.get(self._find_id(code))
        if found is None:
            octets = code.co_code
            places = range(0, len(octets), 2)
            found = frozenset(at for at in places if octets[at] == _RESUME)
            self._resumes[id(code)] = found
        return found

    def _is_machinery(self, path: str) -> bool:
        known = self._machinery.get(path)
        if known is None:
            ends = _LOOP_MODULE, "runpy.py"
            known = path.startswith(_MACHINERY) or path.endswith(ends)
            self._machinery[path] = known
        return known

    def _find_clock(self, ident: int) -> "ThreadClock":
        clock = self._clocks.get(ident)
        if clock is None:
            clock = self._clocks[ident] = ThreadClock(_find_native_id(ident))
        return clock

    def _name_thread(self, ident: int) -> str:
        name = self._names.get(ident)
        if name is None:
            found = [each.name for each in threading.enumerate() if each.ident == ident]
            name = self._names[ident] = found[0] if found else "of C code"
        return name

    def _name_work(self) -> str:
        """Name the task that the loop runs now, by its request or its own name."""
        task = None if self._loop is None else asyncio.current_task(self._loop)
        if task is None:
            return _LOOP
        if task is not self._labelled:
            self._labelled, self._label = task, name_task(task)
        return self._label

    def _count_tasks(self) -> None:
        """Count where the tasks wait; each stands for as many samples as were left."""
        if self._loop is None:
            return
        current = asyncio.current_task(self._loop)
        for task in list(asyncio.all_tasks(self._loop))[:_TASK_COUNT]:
            if task is not current and not task.done():
                spots = trace(task.get_coro())
                names = [f"{s.function} ({_shorten(s.file)}:{s.line})" for s in spots]
                self._count(("waiting tasks", name_task(task), *names), _TASKS_EVERY)

    def _describe(self, took_s: float, cpu_s: float) -> Profiled:
        names: dict[str, int] = {}
        stacks: dict[tuple[int, ...], int] = {}
        for key, count in self._counts.items():
            texts = [
                e if isinstance(e, str) else _name_code(self._codes[e]) for e in key
            ]
            places = [names.setdefault(t[:NAME_CHARS], len(names)) for t in texts]
            stack = tuple(places)
            stacks[stack] = stacks.get(stack, 0) + count
        return Profiled(
            samples=self._samples,
            took_s=took_s,
            names=list(names),
            stacks=[(list(stack), count) for stack, count in stacks.items()],
            waiting=self._waiting,
            own_cpu_s=cpu_s,
        )

    # By what was allocated

    def _compare(self) -> Profiled:
        if not tracemalloc.is_tracing():
            text = (
                "the app does not trace its memory: start the service with --env "
                "PYTHONTRACEMALLOC=1, or call tracemalloc.start() in the app"
            )
            return Profiled(failure=text)
        before, began_at = tracemalloc.take_snapshot(), time.monotonic()
        ends_at = began_at + self._wish.seconds
        while time.monotonic() < ends_at and self._is_wanted():
            self._sock.sendall(msgspec.json.encode(Sampled(0)) + b"\n")
            time.sleep(min(PROGRESS_EVERY_S, max(0.0, ends_at - time.monotonic())))
        after = tracemalloc.take_snapshot()
        own = tracemalloc.Filter(False, tracemalloc.__file__)
        changes = after.filter_traces([own]).compare_to(
            before.filter_traces([own]), "lineno"
        )
        lines = [
            MemoryLine(
                f"{_shorten(each.traceback[0].filename)}:{each.traceback[0].lineno}",
                each.size_diff,
                each.count_diff,
                each.size,
            )
            for each in changes[:LINE_COUNT]
            if each.size_diff or each.count_diff
        ]
        return Profiled(memory=lines, took_s=time.monotonic() - began_at)


class ThreadClock:
    """How much of the time one thread has work to do.

    Args:
        native_id: As the kernel numbers it; None: it is not known, as of one that C
            code has begun. That it works is then not believed.
    """

    __slots__ = ("_at_ns", "_busy_ns", "_fd", "_unknown")

    def __init__(self, native_id: int | None) -> None:
        self._fd = -1
        self._busy_ns = self._at_ns = 0
        self._unknown = 0.0 if native_id is None else 1.0
        if native_id is not None:
            try:
                path = f"/proc/self/task/{native_id}/schedstat"
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                pass  # it has just ended, or the kernel does not tell
        self.measure()

    def measure(self) -> float:
        """Return the share of the time since the last look, from 0 to 1.

        In it the thread ran, or waited for nothing but a processor; 1 when the kernel
        does not tell.
        """
        if self._fd < 0:
            return self._unknown
        try:
            ran_ns, waited_ns, _ = map(int, os.pread(self._fd, 64, 0).split())
        except (OSError, ValueError):
            return 1.0
        busy_ns, now_ns = ran_ns + waited_ns, time.monotonic_ns()
        busy, span = busy_ns - self._busy_ns, now_ns - self._at_ns
        self._busy_ns, self._at_ns = busy_ns, now_ns
        return min(1.0, busy / max(span, 1))

    def close(self) -> None:
        """Close its file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _find_native_id(ident: int) -> int | None:
    found = [each.native_id for each in threading.enumerate() if each.ident == ident]
    return found[0] if found else None


def _name_code(code: CodeType) -> str:
    return f"{code.co_qualname} ({_shorten(code.co_filename)}:{code.co_firstlineno})"


def _shorten(path: str) -> str:
    """Return the part of a path that tells one file from another."""
    return "/".join(path.split("/")[-2:])[-NAME_CHARS // 2 :]


def name_task(task: asyncio.Task[Any]) -> str:
    """Name a task: by its request, method and route, or as it is called."""
    r = _find_request(task)
    if r is None:
        return f"task {task.get_name()}"
    route = r.route or r.context.app.name_handler(r.method, r.path)
    return f"{r.method} {route}"


def _find_request(task: asyncio.Task[Any]) -> Any:
    """Return the request that a task handles; None: it handles none."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    if frame is None or frame.f_code is not HandlerTask._run.__code__:
        return None
    return getattr(frame.f_locals.get("self"), "request", None)
