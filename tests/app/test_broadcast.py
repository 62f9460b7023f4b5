"""``web.broadcast`` in one process, and what a carrier is given and gives."""

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from blazeio.app.app import App
from blazeio.app.service import INBOX_COUNT, MESSAGE_BYTES
from blazeio.errors import ConfigurationError
from blazeio.testing import TestServer
from tests.support.clock import wait_until


@pytest.fixture
def web() -> App[Any]:
    return App()


@pytest.fixture
def heard(web: App[Any]) -> list[Any]:
    heard: list[Any] = []
    web.on_broadcast(heard.append)
    return heard


@pytest.mark.parametrize(
    "message", ["text", b"octets", 7, 1.5, None, True, [1, "a"], {"a": {"b": [b"c"]}}]
)
async def test_each_kind_of_value_comes_as_it_was_sent(
    web: App[Any], heard: list[Any], message: Any
) -> None:
    assert web.broadcast(message)
    assert heard == []  # in a later turn of the loop, whoever sends
    await wait_until(lambda: heard == [message])


async def test_messages_come_in_order_one_after_the_other(web: App[Any]) -> None:
    at_work: list[int] = []
    heard: list[int] = []

    @web.on_broadcast
    async def hear(message: int) -> None:
        at_work.append(message)
        assert len(at_work) == 1
        await asyncio.sleep(0)
        heard.append(at_work.pop())

    for number in range(100):
        web.broadcast(number)
    await wait_until(lambda: heard == list(range(100)))


async def test_a_handler_that_raises_is_logged_and_the_others_go_on(
    web: App[Any], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    @web.on_broadcast
    def fail(message: Any) -> None:
        message["changed"] = True
        raise KeyError(message["a"])

    web.on_broadcast(heard.append)
    web.broadcast({"a": 1})
    web.broadcast({"a": 2})
    await wait_until(lambda: heard == [{"a": 1}, {"a": 2}])
    assert len(caplog.records) == 2
    assert "broadcast handler" in caplog.records[0].message


async def test_handlers_of_a_mounted_app_are_the_outer_ones(web: App[Any]) -> None:
    inner, innermost, heard = App[Any](), App[Any](), list[Any]()
    inner.on_broadcast(heard.append)
    inner.mount("/c", innermost)
    web.mount("/b", inner)
    innermost.on_broadcast(heard.append)
    innermost.broadcast("a")
    await wait_until(lambda: heard == ["a", "a"])


async def test_the_carrier_gets_the_octets_and_says_whether_it_took_them(
    web: App[Any], heard: list[Any]
) -> None:
    carried: list[bytes] = []

    def carry(octets: bytes) -> bool:
        carried.append(octets)
        return len(carried) < 2

    web.broadcasts.carrier = carry
    assert web.broadcast("a")
    assert not web.broadcast("b")
    assert [msgspec.msgpack.decode(each) for each in carried] == ["a", "b"]
    assert web.broadcasts.dropped == 1
    await wait_until(lambda: heard == ["a", "b"])


async def test_what_comes_from_elsewhere_is_handled_alike(
    web: App[Any], heard: list[Any]
) -> None:
    web.broadcasts.carrier = lambda _: pytest.fail("it would go round in circles")
    web.broadcasts.receive(msgspec.msgpack.encode({"a": 1}))
    await wait_until(lambda: heard == [{"a": 1}])


async def test_too_many_are_dropped_and_counted(
    web: App[Any], heard: list[Any]
) -> None:
    for number in range(INBOX_COUNT + 3):
        web.broadcast(number)
    assert web.broadcasts.dropped == 3
    await wait_until(lambda: heard == list(range(INBOX_COUNT)))
    web.broadcast("again")
    await wait_until(lambda: heard[-1] == "again")


async def test_a_message_has_a_longest_size(web: App[Any], heard: list[Any]) -> None:
    web.broadcast(b"x" * (MESSAGE_BYTES - 3))
    with pytest.raises(ValueError, match=r"32,769 octets, of at most 32,768"):
        web.broadcast(b"x" * (MESSAGE_BYTES - 2))
    await wait_until(lambda: len(heard) == 1)


@pytest.mark.parametrize("message", [object(), 2**70, "\udcff", {1: object()}])
async def test_what_is_no_value_is_refused(web: App[Any], message: Any) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        web.broadcast(message)


def test_a_handler_takes_the_message(web: App[Any]) -> None:
    with pytest.raises(ConfigurationError, match="takes the message"):
        web.on_broadcast(lambda: None)  # type: ignore[type-var]


def test_an_import_reaches_nobody(web: App[Any], heard: list[Any]) -> None:
    web.broadcast("a")
    assert (heard, web.broadcasts.dropped) == ([], 1)


async def test_another_thread_sends_through_the_loop_that_serves(
    web: App[Any], heard: list[Any]
) -> None:
    carried: list[int] = []

    def carry(octets: bytes) -> bool:
        carried.append(threading.get_ident())
        return False

    web.broadcasts.carrier = carry
    async with TestServer(web):
        assert await asyncio.to_thread(web.broadcast, "from a thread")
        await wait_until(lambda: heard == ["from a thread"])
        assert carried == [threading.get_ident()]
        assert web.broadcasts.dropped == 1
        with pytest.raises(ValueError, match="broadcast"):
            await asyncio.to_thread(web.broadcast, object())


def test_who_sends_when_the_loop_is_gone_is_told(web: App[Any]) -> None:
    async def start() -> None:
        web.broadcasts.start()

    asyncio.run(start())
    assert not web.broadcast("too late")
    assert web.broadcasts.dropped == 1
