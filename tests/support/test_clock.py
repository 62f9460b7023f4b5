import pytest

from tests.support.clock import block_until, time_scale, wait_until, within


def test_the_environment_stretches_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLAZEIO_TEST_TIME_SCALE", "2.5")
    assert time_scale() == 2.5
    monkeypatch.delenv("BLAZEIO_TEST_TIME_SCALE")
    assert time_scale() == 1


async def test_waiting_for_what_never_comes_names_the_condition() -> None:
    with pytest.raises(AssertionError, match=r"test_clock\.py:"):
        await wait_until(lambda: False, 0.01)
    with pytest.raises(AssertionError, match="the moon: still false"):
        block_until(lambda: False, 0.01, "the moon")


async def test_waiting_ends_as_soon_as_it_is_true() -> None:
    answers = iter([False, False, True])
    await wait_until(lambda: next(answers))
    block_until(lambda: True)


async def test_within_hands_the_result_through() -> None:
    async def answer() -> int:
        return 42

    assert await within(answer()) == 42
