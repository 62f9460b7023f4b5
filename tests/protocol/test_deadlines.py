"""One timer for all connections: late by a tick at most, and never early."""

import asyncio
import gc
import time
import weakref

import pytest

from blazeio.protocol.timeouts import NEVER, TICK_S, DeadlineWheel, find_clock
from tests.support.clock import scaled, wait_until


class Waiting:
    """Writes down when its deadline passed."""

    def __init__(self, wheel: DeadlineWheel | None = None, again_s: float = 0) -> None:
        self.deadline_at = NEVER
        self.entered_at = NEVER
        self.called_at: list[float] = []
        self._wheel = wheel
        self._again_s = again_s

    def deadline_passed(self, now: float) -> None:
        self.called_at.append(asyncio.get_running_loop().time())
        if self._wheel is not None and len(self.called_at) < 3:
            self._wheel.set(self, now + self._again_s)


class Failing(Waiting):
    def deadline_passed(self, now: float) -> None:
        raise ZeroDivisionError


def new_wheel() -> DeadlineWheel:
    return DeadlineWheel(asyncio.get_running_loop())


async def test_a_deadline_is_kept_to_the_tick_and_never_early() -> None:
    wheel = new_wheel()
    waiting = Waiting()
    deadline_at = wheel.now() + 0.03
    wheel.set(waiting, deadline_at)
    await wait_until(lambda: waiting.called_at)
    (called_at,) = waiting.called_at
    assert deadline_at - 0.002 <= called_at <= deadline_at + TICK_S + scaled(0.05)
    assert waiting.deadline_at == NEVER


@pytest.mark.slow
async def test_deadlines_pass_in_their_order() -> None:
    wheel = new_wheel()
    order: list[str] = []

    class Named(Waiting):
        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        def deadline_passed(self, now: float) -> None:
            order.append(self._name)

    start_at = wheel.now()
    for name, span_s in (("late", 0.25), ("early", 0.05), ("middle", 0.15)):
        wheel.set(Named(name), start_at + span_s)
    await wait_until(lambda: len(order) == 3)
    assert order == ["early", "middle", "late"]


async def test_a_deadline_that_moves_on_does_not_pass() -> None:
    wheel = new_wheel()
    moved, fixed = Waiting(), Waiting()
    wheel.set(moved, wheel.now() + 0.02)
    wheel.set(fixed, wheel.now() + 0.02)
    wheel.set(moved, wheel.now() + 0.2)
    await wait_until(lambda: fixed.called_at)
    assert not moved.called_at
    await wait_until(lambda: moved.called_at)


async def test_a_deadline_can_be_brought_forward() -> None:
    wheel = new_wheel()
    waiting = Waiting()
    wheel.set(waiting, wheel.now() + 3600)
    wheel.set(waiting, wheel.now() + 0.02)
    await wait_until(lambda: waiting.called_at)
    assert len(waiting.called_at) == 1


async def test_a_deadline_in_the_same_tick_is_entered_once() -> None:
    wheel = new_wheel()
    waiting = Waiting()
    start_at = (int(wheel.now() / TICK_S) + 2) * TICK_S
    wheel.set(waiting, start_at + TICK_S * 0.9)
    entered_at = waiting.entered_at
    wheel.set(waiting, start_at + TICK_S * 0.2)
    assert waiting.entered_at == entered_at
    await wait_until(lambda: waiting.called_at)


async def test_a_lifted_deadline_does_not_pass() -> None:
    wheel = new_wheel()
    lifted, other = Waiting(), Waiting()
    wheel.set(lifted, wheel.now() + 0.02)
    wheel.set(other, wheel.now() + 0.07)
    wheel.set(lifted, NEVER)
    await wait_until(lambda: other.called_at)
    assert not lifted.called_at


async def test_passing_may_set_the_next_deadline() -> None:
    wheel = new_wheel()
    waiting = Waiting(wheel, again_s=0.02)
    wheel.set(waiting, wheel.now() + 0.02)
    await wait_until(lambda: len(waiting.called_at) == 3)


async def test_passing_may_set_a_deadline_that_is_over_already() -> None:
    wheel = new_wheel()
    waiting = Waiting(wheel, again_s=-1)
    wheel.set(waiting, wheel.now() + 0.02)
    await wait_until(lambda: len(waiting.called_at) == 3)


async def test_a_deadline_in_the_past_passes_from_the_loop() -> None:
    wheel = new_wheel()
    waiting = Waiting()
    wheel.set(waiting, wheel.now() - 1)
    assert not waiting.called_at
    await wait_until(lambda: waiting.called_at)


async def test_what_is_forgotten_is_not_kept_alive() -> None:
    wheel = new_wheel()
    waiting = Waiting()
    wheel.set(waiting, wheel.now() + 3600)
    wheel.forget(waiting)
    assert (waiting.deadline_at, waiting.entered_at) == (NEVER, NEVER)
    reference = weakref.ref(waiting)
    del waiting
    gc.collect()
    assert reference() is None
    wheel.close()


async def test_forgetting_a_stranger_does_nothing() -> None:
    new_wheel().forget(Waiting())


async def test_one_can_be_forgotten_while_its_tick_is_served() -> None:
    wheel = new_wheel()
    at = wheel.now() + 0.02
    called: list[str] = []

    class Pair(Waiting):
        other: "Pair"

        def deadline_passed(self, now: float) -> None:
            called.append("one of them")
            wheel.forget(self.other)

    first, second = Pair(), Pair()
    first.other, second.other = second, first
    wheel.set(first, at)
    wheel.set(second, at)
    last = Waiting()
    wheel.set(last, at + 0.1)
    await wait_until(lambda: last.called_at)
    assert called == ["one of them"]


async def test_one_that_fails_does_not_stop_the_wheel() -> None:
    loop = asyncio.get_running_loop()
    seen: list[object] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    wheel = new_wheel()
    at = wheel.now() + 0.02
    others = [Waiting() for _ in range(4)]
    for waiting in (*others[:2], Failing(), *others[2:]):
        wheel.set(waiting, at)
    later = Waiting()
    wheel.set(later, at + 0.1)
    await wait_until(lambda: later.called_at)
    assert all(each.called_at for each in others)
    assert [type(each) for each in seen] == [ZeroDivisionError]


async def test_no_timer_is_left_when_nothing_is_due() -> None:
    wheel = new_wheel()
    waiting = Waiting()
    wheel.set(waiting, wheel.now() + 0.02)
    await wait_until(lambda: waiting.called_at)
    assert wheel._timer is None


async def test_nothing_passes_after_the_close() -> None:
    wheel, other = new_wheel(), new_wheel()
    waiting, last = Waiting(), Waiting()
    wheel.set(waiting, wheel.now() + 0.02)
    wheel.close()
    wheel.close()
    other.set(last, other.now() + 0.1)
    await wait_until(lambda: last.called_at)
    assert not waiting.called_at


class TestClock:
    async def test_of_the_usual_loops_is_the_monotonic_one(self) -> None:
        loop = asyncio.get_running_loop()
        assert find_clock(loop) is time.monotonic
        assert abs(loop.time() - time.monotonic()) < scaled(1)

    def test_of_another_loop_is_its_own(self) -> None:
        class Fast(asyncio.SelectorEventLoop):
            def time(self) -> float:
                return super().time() * 60

        loop = Fast()
        assert find_clock(loop) == loop.time
        loop.close()

    def test_that_a_test_has_put_into_a_loop_counts(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = asyncio.new_event_loop()
        monkeypatch.setattr(loop, "time", lambda: 1.0)
        assert find_clock(loop)() == 1.0
        loop.close()

    async def test_that_was_put_in_place_of_the_monotonic_one_is_none_of_uvloop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As freezegun does."""
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(time, "monotonic", lambda: 0.0)
        assert find_clock(loop) == loop.time
