import asyncio

from blazeio.protocol.latch import Happening
from tests.support.clock import wait_until


async def test_what_has_come_is_true_and_awaited_at_once() -> None:
    draining = Happening()
    assert not draining
    draining.come()
    assert draining
    await draining


async def test_what_has_come_before_it_was_asked_for_counts() -> None:
    await Happening(has_come=True)


async def test_all_sleepers_wake() -> None:
    draining = Happening()

    async def sleep() -> None:
        await draining

    sleepers = [asyncio.ensure_future(sleep()) for _ in range(3)]
    await asyncio.sleep(0)
    draining.come()
    await asyncio.gather(*sleepers)


async def test_a_sleeper_that_is_cancelled_is_forgotten() -> None:
    draining = Happening()

    async def sleep() -> None:
        await draining

    sleeper = asyncio.ensure_future(sleep())
    await asyncio.sleep(0)
    sleeper.cancel()
    await wait_until(sleeper.done)
    draining.come()
    assert sleeper.cancelled()


def test_it_says_whether_it_has_come() -> None:
    assert "to come" in repr(Happening())
    assert "to come" not in repr(Happening(has_come=True))
