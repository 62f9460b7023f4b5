"""All deadlines of a connection behind one entry of the wheel."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import ContentStream
from blazeio.protocol.readiness import ReadControl
from blazeio.protocol.timeouts import NEVER, ConnectionTimeouts, DeadlineWheel, MinRate
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
        self.wheel = DeadlineWheel(loop)
        self.wheel.now = lambda: self.now
        self.read_control = ReadControl(
            self.transport, ServerContext(hello, limits, loop)
        )
        self.patience = ConnectionTimeouts(self, self.read_control, limits, self.wheel)
        self.acts: list[str] = []

    def phase_is_over(self) -> None:
        self.acts.append("phase")

    def content_is_slow(self) -> None:
        self.acts.append("content")

    def reader_is_slow(self) -> None:
        self.acts.append("reader")

    def handler_is_late(self) -> None:
        self.acts.append("handler")

    def look_after(self, span_s: float) -> list[str]:
        """What the wheel does at its next look, so much later."""
        self.now += span_s
        if self.patience.deadline_at <= self.now:
            self.patience.deadline_at = NEVER
            self.patience.deadline_passed(self.now)
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


class TestPhase:
    async def test_it_ends_once(self, connection: TimeoutsHarness) -> None:
        connection.patience.end_phase_in(5)
        assert connection.look_after(4.9) == []
        assert connection.look_after(0.1) == ["phase"]
        assert connection.look_after(100) == []

    async def test_the_last_word_counts(self, connection: TimeoutsHarness) -> None:
        connection.patience.end_phase_in(5)
        connection.patience.end_phase_in(8)
        assert connection.look_after(6) == []
        assert connection.look_after(2) == ["phase"]

    async def test_within_never_makes_it_later(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.patience.end_phase_in(5)
        connection.patience.end_phase_within(50)
        assert connection.look_after(5) == ["phase"]
        connection.patience.end_phase_within(3)
        assert connection.look_after(3) == ["phase"]

    async def test_a_lifted_one_does_not_end(self, connection: TimeoutsHarness) -> None:
        connection.patience.end_phase_in(5)
        connection.patience.phase_ends_at = NEVER
        assert connection.look_after(5) == []
        assert connection.patience.deadline_at == NEVER

    async def test_it_is_kept_beside_a_demand(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.patience.start_content(ContentStream(length=9))
        connection.patience.end_phase_in(3)
        assert connection.look_after(3) == ["phase"]
        assert connection.look_after(WINDOW_S - 3) == ["content"]


class TestContent:
    async def test_that_keeps_coming_is_waited_for(
        self, connection: TimeoutsHarness
    ) -> None:
        content = ContentStream(length=10_000)
        connection.patience.start_content(content)
        for _ in range(5):
            content.feed(b"x" * 100)
            assert connection.look_after(WINDOW_S) == []

    async def test_that_comes_too_slowly_is_told_once(
        self, connection: TimeoutsHarness
    ) -> None:
        content = ContentStream(length=10_000)
        connection.patience.start_content(content)
        content.feed(b"x" * 99)
        assert connection.look_after(WINDOW_S) == ["content"]
        assert connection.look_after(WINDOW_S) == []

    async def test_demanded_again_goes_on_in_its_window(
        self, connection: TimeoutsHarness
    ) -> None:
        content = ContentStream(length=10_000)
        connection.patience.start_content(content)
        assert connection.look_after(WINDOW_S - 1) == []
        connection.patience.start_content(content)
        assert connection.look_after(1) == ["content"]

    async def test_excused_begins_anew(self, connection: TimeoutsHarness) -> None:
        content = ContentStream(length=10_000)
        connection.patience.start_content(content)
        connection.look_after(WINDOW_S - 1)
        connection.patience.stop_content()
        assert connection.look_after(100) == []
        connection.patience.start_content(content)
        assert connection.look_after(WINDOW_S - 1) == []
        assert connection.look_after(1) == ["content"]


class TestReader:
    async def test_that_keeps_reading_is_waited_for(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.transport.is_stalled = True
        connection.transport.write(b"x" * 5000)
        connection.patience.start_reading()
        for _ in range(5):
            connection.transport.drain(100)
            assert connection.look_after(WINDOW_S) == []

    async def test_that_reads_too_slowly_is_told(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.transport.is_stalled = True
        connection.transport.write(b"x" * 5000)
        connection.patience.start_reading()
        connection.patience.start_reading()
        connection.transport.drain(99)
        assert connection.look_after(WINDOW_S) == ["reader"]

    async def test_excused_is_waited_for(self, connection: TimeoutsHarness) -> None:
        connection.transport.is_stalled = True
        connection.transport.write(b"x" * 5000)
        connection.patience.start_reading()
        connection.patience.stop_reading()
        assert connection.look_after(100) == []


async def test_the_end_lifts_everything(connection: TimeoutsHarness) -> None:
    connection.patience.start_content(ContentStream(length=9))
    connection.patience.start_reading()
    connection.patience.end_phase_in(1)
    connection.patience.end_all_but_handler()
    assert connection.look_after(100) == []
    assert connection.patience.deadline_at == NEVER


class TestHandler:
    async def test_its_deadline_outlives_the_connection(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.patience.end_handler_in(5)
        connection.patience.end_all_but_handler()
        assert connection.look_after(4.9) == []
        assert connection.look_after(0.2) == ["handler"]
        assert connection.look_after(100) == []

    async def test_a_grace_of_the_phase_does_not_replace_it(
        self, connection: TimeoutsHarness
    ) -> None:
        connection.patience.end_handler_in(5)
        connection.patience.end_phase_within(1)
        assert connection.look_after(1) == ["phase"]
        assert connection.look_after(4) == ["handler"]

    async def test_once_over_it_has_none(self, connection: TimeoutsHarness) -> None:
        connection.patience.end_handler_in(5)
        connection.patience.excuse_handler()
        connection.patience.end_phase_in(7)
        assert connection.look_after(6) == []
        assert connection.look_after(1) == ["phase"]


async def test_the_wheel_looks_at_the_earliest() -> None:
    limits = Limits(progress_window_s=0.1, progress_bytes_per_s=10)
    connection = TimeoutsHarness(limits)
    connection.wheel.now = asyncio.get_running_loop().time
    connection.patience.end_phase_in(3600)
    connection.patience.start_content(ContentStream(length=9))
    await wait_until(lambda: connection.acts == ["content"])
    connection.patience.end_all_but_handler()
    connection.close()


def new_pace() -> MinRate:
    """At least 100 octets in each 10 seconds, from 1000 on."""
    return MinRate(window_s=10, bytes_per_s=10, now=1000, moved_bytes=500)


def test_nothing_is_judged_within_a_window() -> None:
    pace = new_pace()
    assert pace.judged_at == 1010
    assert pace.keeps_up(1009.9, 500)


@pytest.mark.parametrize(("moved_bytes", "expected"), [(600, True), (599, False)])
def test_the_least_is_enough(moved_bytes: int, expected: bool) -> None:
    assert new_pace().keeps_up(1010, moved_bytes) is expected


def test_each_window_begins_anew() -> None:
    pace = new_pace()
    assert pace.keeps_up(1010, 5000)
    assert pace.judged_at == 1020
    assert not pace.keeps_up(1020, 5099)


def test_a_late_look_begins_the_next_window_at_its_own_time() -> None:
    pace = new_pace()
    assert pace.keeps_up(1017, 600)
    assert pace.judged_at == 1027


def test_what_moves_may_count_down_from_below_zero() -> None:
    pace = MinRate(window_s=1, bytes_per_s=10, now=0, moved_bytes=-1000)
    assert pace.keeps_up(1, -990)
    assert not pace.keeps_up(2, -985)


def test_a_rate_of_zero_is_always_kept() -> None:
    pace = MinRate(window_s=1, bytes_per_s=0, now=0, moved_bytes=0)
    assert pace.keeps_up(1, 0)
