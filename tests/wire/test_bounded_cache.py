from blazeio.wire.grammar import BoundedCache


def look_up(memo: BoundedCache[str, int], key: str) -> int | None:
    return memo.recent.get(key) or memo.recall(key)


def test_what_was_kept_is_found() -> None:
    memo: BoundedCache[str, int] = BoundedCache(2)
    memo.keep("a", 1)
    assert look_up(memo, "a") == 1
    assert look_up(memo, "b") is None


def test_it_never_holds_more_than_two_generations() -> None:
    memo: BoundedCache[str, int] = BoundedCache(10)
    for number in range(1_000):
        memo.keep(str(number), number + 1)
        assert len(memo) <= 20
    assert look_up(memo, "999") == 1_000
    assert look_up(memo, "0") is None


def test_what_is_used_survives_endless_other_keys() -> None:
    memo: BoundedCache[str, int] = BoundedCache(10)
    memo.keep("used", 1)
    for number in range(1_000):
        memo.keep(str(number), number + 1)
        if number % 8 == 0:
            assert look_up(memo, "used") == 1


def test_what_is_recalled_is_in_the_recent_generation_again() -> None:
    memo: BoundedCache[str, int] = BoundedCache(1)
    memo.keep("a", 1)
    memo.keep("b", 2)
    assert "a" not in memo.recent
    assert memo.recall("a") == 1
    assert memo.recent == {"a": 1}
    assert memo.recall("b") == 2


def test_clear_forgets_both_generations() -> None:
    memo: BoundedCache[str, int] = BoundedCache(1)
    memo.keep("a", 1)
    memo.keep("b", 2)
    memo.clear()
    assert (look_up(memo, "a"), look_up(memo, "b"), len(memo)) == (None, None, 0)
