"""Writers sleep at the gate, readers at the stream; neither polls."""

import asyncio

import pytest

from blazeio.errors import ClientDisconnected, RemoteProtocolError
from blazeio.limits import Limits
from blazeio.protocol.flow import (
    NO_CONTENT,
    ContentStream,
    Latch,
    WriteGate,
    make_arrived,
)
from blazeio.wire.chunked import ChunkDecoder
from tests.support.clock import wait_until, within

LIMITS = Limits()


def chunked(bound: int | None = None) -> ContentStream:
    return ContentStream(decoder=ChunkDecoder(LIMITS), bound=bound)


def take_all(content: ContentStream) -> list[bytes]:
    pieces = []
    while (piece := content.take()) is not None:
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("octets", [b"a", b"a" * 5000])
def test_content_that_has_arrived_is_as_if_it_were_fed(octets: bytes) -> None:
    fed = ContentStream(length=len(octets))
    assert fed.feed(octets) == b""
    arrived = make_arrived(octets)
    for name in ("is_whole", "due_bytes", "queued_bytes", "received_bytes", "error"):
        assert getattr(arrived, name) == getattr(fed, name), name
    assert take_all(arrived) == take_all(fed) == [octets]


class TestWriteGate:
    async def test_open_gate_is_passed_at_once(self) -> None:
        await within(WriteGate().passed())

    async def test_sleepers_pass_in_the_order_they_came(self) -> None:
        gate = WriteGate()
        gate.close()
        order: list[int] = []

        async def pass_as(number: int) -> None:
            await gate.passed()
            order.append(number)

        tasks = [asyncio.create_task(pass_as(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert order == []
        gate.open()
        await within(asyncio.gather(*tasks))
        assert order == [0, 1, 2]

    async def test_a_sleeper_woken_to_a_closed_gate_sleeps_on(self) -> None:
        gate = WriteGate()
        gate.close()
        task = asyncio.create_task(gate.passed())
        await asyncio.sleep(0)
        gate.open()
        gate.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
        gate.open()
        await within(task)

    async def test_a_broken_gate_fails_sleepers_and_comers(self) -> None:
        gate = WriteGate()
        gate.close()
        task = asyncio.create_task(gate.passed())
        await asyncio.sleep(0)
        gate.fail(ClientDisconnected("the peer went away"))
        with pytest.raises(ClientDisconnected, match="the peer went away"):
            await within(task)
        with pytest.raises(ClientDisconnected):
            await within(gate.passed())

    async def test_a_cancelled_sleeper_does_not_hinder_the_others(self) -> None:
        gate = WriteGate()
        gate.close()
        cancelled = asyncio.create_task(gate.passed())
        other = asyncio.create_task(gate.passed())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        gate.open()
        await within(other)
        assert cancelled.cancelled()


class TestContentOfDeclaredLength:
    def test_is_whole_with_its_last_octet(self) -> None:
        content = ContentStream(length=5)
        assert content.feed(b"abc") == b""
        assert (content.is_whole, content.due_bytes) == (False, 2)
        assert content.feed(b"de") == b""
        assert (content.is_whole, content.due_bytes) == (True, 0)
        assert take_all(content) == [b"abc", b"de"]

    def test_returns_what_follows_its_end(self) -> None:
        content = ContentStream(length=3)
        assert content.feed(b"abcGET /") == b"GET /"
        assert take_all(content) == [b"abc"]

    def test_counts_what_waits_and_what_has_arrived(self) -> None:
        content = ContentStream(length=10)
        content.feed(b"abc")
        content.feed(b"de")
        assert (content.queued_bytes, content.received_bytes) == (5, 5)
        content.take()
        assert (content.queued_bytes, content.received_bytes) == (2, 5)

    def test_a_length_beyond_the_bound_is_an_error_from_the_start(self) -> None:
        content = ContentStream(length=11, bound=10)
        assert isinstance(content.error, RemoteProtocolError)
        assert content.error.status_hint == 413
        assert "10 octets" in str(content.error)

    async def test_nothing_of_a_too_large_content_is_given_out(self) -> None:
        content = ContentStream(length=11, bound=10)
        assert content.feed(b"x" * 11 + b"GET /") == b""
        assert content.take() is None
        assert not content.is_whole
        with pytest.raises(RemoteProtocolError):
            await within(content.arrival())

    def test_a_length_at_the_bound_is_taken(self) -> None:
        content = ContentStream(length=10, bound=10)
        content.feed(b"x" * 10)
        assert content.error is None
        assert content.is_whole


class TestChunkedContent:
    def test_is_decoded(self) -> None:
        content = chunked()
        assert content.feed(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /") == b"GET /"
        assert content.is_whole
        assert content.received_bytes == content.queued_bytes == 5
        assert take_all(content) == [b"abc", b"de"]
        assert content.queued_bytes == 0
        assert content.trailers is None

    def test_gives_its_trailers_once_whole(self) -> None:
        content = chunked()
        content.feed(b"1\r\na\r\n0\r\nChecksum: 7\r\n\r\n")
        assert content.trailers is not None
        assert content.trailers["checksum"] == "7"

    async def test_a_breach_shows_after_what_came_before_it(self) -> None:
        content = chunked()
        content.feed(b"1\r\na\r\n")
        content.feed(b"zz\r\n")
        await within(content.arrival())
        assert content.take() == b"a"
        with pytest.raises(RemoteProtocolError):
            await within(content.arrival())

    def test_nothing_is_decoded_after_a_breach(self) -> None:
        content = chunked()
        content.feed(b"zz\r\n")
        assert content.feed(b"0\r\n\r\nGET /") == b""
        assert not content.is_whole

    def test_more_than_the_bound_is_an_error(self) -> None:
        content = chunked(bound=3)
        content.feed(b"3\r\nabc\r\n")
        assert content.error is None
        content.feed(b"1\r\nd\r\n0\r\n\r\n")
        assert isinstance(content.error, RemoteProtocolError)
        assert content.error.status_hint == 413
        assert take_all(content) == [b"abc"]
        assert not content.is_whole


class TestArrival:
    async def test_returns_when_a_piece_comes(self) -> None:
        content = ContentStream(length=5)
        reader = asyncio.create_task(content.arrival())
        await asyncio.sleep(0)
        assert not reader.done()
        content.feed(b"a")
        await within(reader)

    async def test_returns_at_once_when_whole(self) -> None:
        await within(NO_CONTENT.arrival())

    async def test_a_failure_wakes_the_sleeper(self) -> None:
        content = ContentStream(length=5)
        reader = asyncio.create_task(content.arrival())
        await asyncio.sleep(0)
        content.fail(ClientDisconnected("gone"))
        with pytest.raises(ClientDisconnected, match="gone"):
            await within(reader)

    async def test_a_failure_shows_after_what_has_arrived(self) -> None:
        content = ContentStream(length=5)
        content.feed(b"ab")
        content.fail(ClientDisconnected("gone"))
        await within(content.arrival())
        assert content.take() == b"ab"
        with pytest.raises(ClientDisconnected):
            await within(content.arrival())

    async def test_the_first_failure_is_kept(self) -> None:
        content = ContentStream(length=5)
        content.fail(ClientDisconnected("first"))
        content.fail(ClientDisconnected("second"))
        with pytest.raises(ClientDisconnected, match="first"):
            await within(content.arrival())

    async def test_whole_content_cannot_fail(self) -> None:
        content = ContentStream(length=1)
        content.feed(b"a")
        content.fail(ClientDisconnected("gone"))
        assert content.take() == b"a"
        await within(content.arrival())

    async def test_a_second_reader_is_refused_and_the_first_goes_on(self) -> None:
        content = ContentStream(length=5)
        first = asyncio.create_task(content.arrival())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks read"):
            await content.arrival()
        content.feed(b"a")
        await within(first)

    async def test_a_cancelled_reader_leaves_its_place(self) -> None:
        content = ContentStream(length=5)
        first = asyncio.create_task(content.arrival())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        second = asyncio.create_task(content.arrival())
        await asyncio.sleep(0)
        content.feed(b"a")
        await within(second)


def test_discarding_drops_what_waits() -> None:
    content = ContentStream(length=5)
    content.feed(b"ab")
    content.discard()
    assert content.take() is None
    assert (content.queued_bytes, content.received_bytes) == (0, 2)


def test_no_content_never_changes() -> None:
    NO_CONTENT.fail(ClientDisconnected("gone"))
    NO_CONTENT.discard()
    assert NO_CONTENT.error is None
    assert NO_CONTENT.is_whole


async def test_what_has_come_is_true_and_awaited_at_once() -> None:
    draining = Latch()
    assert not draining
    draining.set()
    assert draining
    await draining


async def test_what_has_come_before_it_was_asked_for_counts() -> None:
    await Latch(is_set=True)


async def test_all_sleepers_wake() -> None:
    draining = Latch()

    async def sleep() -> None:
        await draining

    sleepers = [asyncio.ensure_future(sleep()) for _ in range(3)]
    await asyncio.sleep(0)
    draining.set()
    await asyncio.gather(*sleepers)


async def test_a_sleeper_that_is_cancelled_is_forgotten() -> None:
    draining = Latch()

    async def sleep() -> None:
        await draining

    sleeper = asyncio.ensure_future(sleep())
    await asyncio.sleep(0)
    sleeper.cancel()
    await wait_until(sleeper.done)
    draining.set()
    assert sleeper.cancelled()


def test_it_says_whether_it_is_set() -> None:
    assert repr(Latch()) == "<Latch not set>"
    assert repr(Latch(is_set=True)) == "<Latch set>"
