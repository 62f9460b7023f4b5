"""All deadlines of a connection behind one entry of the wheel."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import ContentStream
from blazeio.protocol.kernel import ReadControl
from blazeio.protocol.timeouts import NEVER, ConnectionTimeouts, MinRate
from tests.protocol.serving import hello
from tests.support.clock import wait_until
from tests.support.transport import FakeTransport

WINDOW_S = 10.0
LIMITS = Limits(progress_window_s=WINDOW_S, progress_bytes_per_s=10)


class TimeoutsHarness:
    """The owner; time is what the test says it is."""

    def __init__(self, limits: Limits) -> None:
        self.now = 1000.0
        self.ours, self.theirs = socket.socketpair()
        self.transport = FakeTransport(asyncio.Protocol(), extra={"socket": self.ours})
        loop = asyncio.get_running_loop()
        context = ServerContext(hello, limits, loop)
        self.wheel = context.wheel
        self.wheel.now = lambda: self.now
        self.read_control = ReadControl(self.transport, context, self)
        self.timeouts = ConnectionTimeouts(self, self.read_control, context)
        self.acts: list[str] = []

    def on_state_timeout(self) -> None:
        self.acts.append("state")

    def on_content_timeout(self) -> None:
        self.acts.append("content")

    def on_reading_timeout(self) -> None:
        self.acts.append("reader")

    def on_hangup(self, *, is_reset: bool) -> None:
        """Nothing is paused here."""

    def look_after(self, span_s: float) -> list[str]:
        """What the wheel does at its next look, so much later."""
        self.now += span_s
        if self.timeouts.deadline_at <= self.now:
            self.timeouts.deadline_at = NEVER
            self.timeouts.deadline_passed(self.now)
        acts, self.acts = self.acts, []
        return acts

    def close(self) -> None:
        self.wheel.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
async def connection() -> AsyncIterator[TimeoutsHarness]:
    connection = TimeoutsHarness(LIMITS)
    yield connection
    connection.close()


class TestState:
    async def test_it_ends_once(self, connection: TimeoutsHarness) -> None:
        connection.timeouts.end_state_in(5)
        assert connection.look_after(4.9) == []
        assert connection.look_after(0.1) == ["state"]
        assert connection.look_after(100) == []

    async def test_the_last_word_counts(self, connection: TimeoutsHarness) -> None:
        connection.timeouts.end_state_in(5)
        connection.timeouts.end_state_in(8)
        assert connection.look_after(6) == []
        assert connection.look_after(2) == ["state"]

    async def test_within_never_makes_it_later(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.timeouts.end_state_in(5)
        connection.timeouts.end_state_within(50)
        assert connection.look_after(5) == ["state"]
        connection.timeouts.end_state_within(3)
        assert connection.look_after(3) == ["state"]

    async def test_a_lifted_one_does_not_end(self, connection: TimeoutsHarness) -> None:
        connection.timeouts.end_state_in(5)
        connection.timeouts.state_ends_at = NEVER
        assert connection.look_after(5) == []
        assert connection.timeouts.deadline_at == NEVER

    async def test_it_is_kept_beside_a_demand(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.timeouts.start_content(ContentStream(length=9))
        connection.timeouts.end_state_in(3)
        assert connection.look_after(3) == ["state"]
        assert connection.look_after(WINDOW_S - 3) == ["content"]


class TestContent:
    async def test_that_keeps_coming_is_waited_for(
        self, connection: TimeoutsHarness
    ) -> None:
        content = ContentStream(length=10_000)
        connection.timeouts.start_content(content)
        for _ in range(5):
            content.feed(b"x" * 100)
            assert connection.look_after(WINDOW_S) == []

    async def test_that_comes_too_slowly_is_told_once(
        self, connection: TimeoutsHarness
    ) -> None:
        content = ContentStream(length=10_000)
        connection.timeouts.start_content(content)
        content.feed(b"x" * 99)
        assert connection.look_after(WINDOW_S) == ["content"]
        assert connection.look_after(WINDOW_S) == []

    async def test_demanded_again_goes_on_in_its_window(
        self, connection: TimeoutsHarness
    ) -> None:
        content = ContentStream(length=10_000)
        connection.timeouts.start_content(content)
        assert connection.look_after(WINDOW_S - 1) == []
        connection.timeouts.start_content(content)
        assert connection.look_after(1) == ["content"]

    async def test_excused_begins_anew(self, connection: TimeoutsHarness) -> None:
        content = ContentStream(length=10_000)
        connection.timeouts.start_content(content)
        connection.look_after(WINDOW_S - 1)
        connection.timeouts.stop_content()
        assert connection.look_after(100) == []
        connection.timeouts.start_content(content)
        assert connection.look_after(WINDOW_S - 1) == []
        assert connection.look_after(1) == ["content"]


class TestReader:
    async def test_that_keeps_reading_is_waited_for(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.transport.is_stalled = True
        connection.transport.write(b"x" * 5000)
        connection.timeouts.start_reading()
        for _ in range(5):
            connection.transport.drain(100)
            assert connection.look_after(WINDOW_S) == []

    async def test_that_reads_too_slowly_is_told(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.transport.is_stalled = True
        connection.transport.write(b"x" * 5000)
        connection.timeouts.start_reading()
        connection.timeouts.start_reading()
        connection.transport.drain(99)
        assert connection.look_after(WINDOW_S) == ["reader"]

    async def test_excused_is_waited_for(self, connection: TimeoutsHarness) -> None:
        connection.transport.is_stalled = True
        connection.transport.write(b"x" * 5000)
        connection.timeouts.start_reading()
        connection.timeouts.stop_reading()
        assert connection.look_after(100) == []


async def test_the_end_lifts_everything(connection: TimeoutsHarness) -> None:
    connection.timeouts.start_content(ContentStream(length=9))
    connection.timeouts.start_reading()
    connection.timeouts.end_state_in(1)
    connection.timeouts.close()
    assert connection.look_after(100) == []
    assert connection.timeouts.deadline_at == NEVER


async def test_the_wheel_looks_at_the_earliest() -> None:
    limits = Limits(progress_window_s=0.1, progress_bytes_per_s=10)
    connection = TimeoutsHarness(limits)
    connection.wheel.now = asyncio.get_running_loop().time
    connection.timeouts.end_state_in(3600)
    connection.timeouts.start_content(ContentStream(length=9))
    await wait_until(lambda: connection.acts == ["content"])
    connection.timeouts.close()
    connection.close()


def new_min_rate() -> MinRate:
    """At least 100 octets in each 10 seconds, from 1000 on."""
    return MinRate(window_s=10, bytes_per_s=10, now=1000, moved_bytes=500)


def test_nothing_is_judged_within_a_window() -> None:
    rate = new_min_rate()
    assert rate.judged_at == 1010
    assert rate.keeps_up(1009.9, 500)


@pytest.mark.parametrize(("moved_bytes", "expected"), [(600, True), (599, False)])
def test_the_least_is_enough(moved_bytes: int, expected: bool) -> None:
    assert new_min_rate().keeps_up(1010, moved_bytes) is expected


def test_each_window_begins_anew() -> None:
    rate = new_min_rate()
    assert rate.keeps_up(1010, 5000)
    assert rate.judged_at == 1020
    assert not rate.keeps_up(1020, 5099)


def test_a_late_look_begins_the_next_window_at_its_own_time() -> None:
    rate = new_min_rate()
    assert rate.keeps_up(1017, 600)
    assert rate.judged_at == 1027


def test_what_moves_may_count_down_from_below_zero() -> None:
    rate = MinRate(window_s=1, bytes_per_s=10, now=0, moved_bytes=-1000)
    assert rate.keeps_up(1, -990)
    assert not rate.keeps_up(2, -985)


def test_a_rate_of_zero_is_always_kept() -> None:
    rate = MinRate(window_s=1, bytes_per_s=0, now=0, moved_bytes=0)
    assert rate.keeps_up(1, 0)
