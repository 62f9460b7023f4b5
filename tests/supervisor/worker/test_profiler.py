"""The profile of a process, taken in the process of the test itself."""

import asyncio
import dis
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import FrameType

import pytest

from blazeio_supervisor.ipc.inspection import follow_profile, send_wish
from blazeio_supervisor.ipc.status_api import (
    STACK_COUNT,
    Profiled,
    ProfileWish,
    Sampled,
    parse_profile,
)
from blazeio_supervisor.worker.profiler import (
    ProfileOrders,
    Profiler,
    ThreadClock,
    receive_wish,
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = socket.socketpair()
    yield pair
    for sock in pair:
        sock.close()


@pytest.fixture
def _sigprof() -> Iterator[None]:
    """What the test installs is gone behind it; the last signal does nothing."""
    before = signal.getsignal(signal.SIGPROF)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, before)


@pytest.fixture
async def orders(
    ends: tuple[socket.socket, socket.socket], _sigprof: None
) -> AsyncIterator[ProfileOrders]:
    loop = asyncio.get_running_loop()
    yield ProfileOrders(ends[1], lambda: loop)
    for thread in threading.enumerate():
        if thread.name == "blazeio-profiler":
            await asyncio.to_thread(thread.join, 20)


async def take(
    asker: socket.socket, orders: ProfileOrders, wish: ProfileWish
) -> Profiled:
    *looks, last = [said async for said in follow_profile(asker, wish, orders.begin)]
    assert all(isinstance(each, Sampled) for each in looks)
    assert isinstance(last, Profiled)
    return last


def hot(until: float) -> int:
    total = 0
    while time.thread_time() < until:
        total += sum(range(50))
    return total


def names_of(profile: Profiled) -> list[list[str]]:
    return [[profile.names[place] for place in stack] for stack, _ in profile.stacks]


@pytest.mark.long
async def test_a_task_that_works_is_named_with_its_functions(
    ends: tuple[socket.socket, socket.socket], orders: ProfileOrders
) -> None:
    is_over = asyncio.Event()

    async def work() -> None:
        while not is_over.is_set():
            hot(time.thread_time() + 0.01)
            await asyncio.sleep(0)

    task = asyncio.create_task(work(), name="busy bee")
    inside = total = 0
    while total < 50:  # a process that gets no processor has few samples
        profile = await take(ends[0], orders, ProfileWish(1.0))
        assert profile.failure == ""
        for (_, count), names in zip(profile.stacks, names_of(profile), strict=True):
            total += count
            if names[0] == "task busy bee" and names[-1].startswith("hot ("):
                inside += count
    is_over.set()
    await task
    assert inside >= 0.8 * total, (profile.stacks, profile.names)


async def test_an_idle_process_only_waits(
    ends: tuple[socket.socket, socket.socket], orders: ProfileOrders
) -> None:
    waiting = 0
    while waiting <= 5:
        profile = await take(ends[0], orders, ProfileWish(0.3))
        assert profile.failure == ""
        waiting += profile.waiting


def test_a_loop_that_works_on_is_left_to_the_timer(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Each look from outside has it wait, and sees no more than the timer does."""
    profiler = Profiler(ProfileWish(1.0), ends[1], None)
    own, frame = threading.get_ident(), sys._getframe()
    hot(time.thread_time() + 0.05)
    assert profiler._count_thread(own, frame, 5)
    assert profiler._waiting == 0
    is_left = True
    while profiler._waiting == 0:  # what it waits for a processor is none of it
        threading.Event().wait(0.05)
        is_left = profiler._count_thread(own, frame, 5)
    assert not is_left
    assert profiler._waiting == 5


async def test_an_app_with_a_profiler_of_its_own_is_left_alone(
    ends: tuple[socket.socket, socket.socket], orders: ProfileOrders
) -> None:
    def own(number: int, frame: FrameType | None) -> None: ...

    signal.signal(signal.SIGPROF, own)
    profile = await take(ends[0], orders, ProfileWish(0.3))
    assert "the app uses SIGPROF itself" in profile.failure
    assert signal.getsignal(signal.SIGPROF) is own


async def test_two_profiles_follow_each_other(
    ends: tuple[socket.socket, socket.socket], orders: ProfileOrders
) -> None:
    for _ in range(2):
        profile = await take(ends[0], orders, ProfileWish(0.1))
        assert profile.failure == ""
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


async def test_a_fault_of_ours_is_no_fault_of_the_app(
    ends: tuple[socket.socket, socket.socket],
    orders: ProfileOrders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Profiler, "_name_work", lambda _: 1 / 0)
    saying = follow_profile(ends[0], ProfileWish(0.5), orders.begin)
    async for said in saying:
        hot(time.thread_time() + 0.1)  # the timer comes in here
        if isinstance(said, Profiled):
            assert "ZeroDivisionError" in said.failure
            break
    await saying.aclose()


def test_an_order_comes_with_a_socket(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    assert receive_wish(ends[1]) is None
    own, theirs = socket.socketpair()
    with own, theirs:
        send_wish(ends[0], ProfileWish(3.0, is_whole=True), theirs)
        received = receive_wish(ends[1])
        assert received is not None
        wish, sock = received
        with sock:
            assert wish == ProfileWish(3.0, is_whole=True)
            assert not os.get_inheritable(sock.fileno())
            sock.sendall(b"x")
            assert own.recv(1) == b"x"
    ends[0].sendall(b"no order")
    assert receive_wish(ends[1]) is None


def test_more_stacks_than_there_may_be_are_counted_as_one() -> None:
    own, theirs = socket.socketpair()
    with own, theirs:
        profiler = Profiler(ProfileWish(1.0), theirs, None)
        for number in range(STACK_COUNT + 7):
            profiler._count((str(number),), 1)
        answer = profiler._describe(1.0, 0.0)
    assert len(answer.stacks) == STACK_COUNT + 1
    assert answer.stacks[-1][1] == 7
    assert answer.names[-1] == "(other stacks)"
    import msgspec

    assert parse_profile(msgspec.json.encode(answer)) == answer


def test_a_frame_that_was_just_entered_has_not_worked() -> None:
    frame = sys._getframe()
    own, theirs = socket.socketpair()
    with own, theirs:
        profiler = Profiler(ProfileWish(1.0), theirs, None)
        assert profiler._leave_entry(frame) is frame
    assert dis.opname[frame.f_code.co_code[frame.f_lasti]] != "RESUME"


def test_a_thread_that_computes_is_told_from_one_that_waits() -> None:
    clock = ThreadClock(threading.get_native_id())
    hot(time.thread_time() + 0.05)
    assert clock.measure() > 0.3
    threading.Event().wait(0.05)
    while clock.measure() >= 0.5:  # it waited for a processor meanwhile
        threading.Event().wait(0.05)
    clock.close()
    assert clock.measure() == 1.0  # as where the kernel does not tell
    assert ThreadClock(None).measure() == 0.0
