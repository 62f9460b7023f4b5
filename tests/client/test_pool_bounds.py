"""The bounds of the pool, and who makes room where one is reached."""

from math import inf

import pytest

from blazeio.client.pool import (
    Close,
    Open,
    Pool,
    PoolLimits,
    ServeRequest,
    Ticket,
    _OriginPool,
)
from blazeio.errors import ConfigurationError


def test_bounds_are_numbers_that_can_be_reached() -> None:
    assert PoolLimits(connections=1, connections_per_origin=1, idle_s=0).idle_s == 0
    for name, value, least in (
        ("connections", 0, 1),
        ("connections_per_origin", 0, 1),
        ("idle_s", -1, 0),
        ("idle_s", inf, 0),
        ("idle_s", "1", 0),
    ):
        said = f"^pool {name}={value!r}: expected a number >= {least}$"
        with pytest.raises(ConfigurationError, match=said):
            PoolLimits(**{name: value})  # type: ignore[arg-type]


def test_attempts_that_are_under_way_count() -> None:
    pool: Pool[str, str] = Pool(PoolLimits(connections=1))
    _, (first,) = pool.ask("a", 0.0)
    assert isinstance(first, Open)
    _, none = pool.ask("b", 0.0)
    assert not none
    assert repr(pool) == "<Pool a: 1 opening, 1 waiting; b: 1 waiting>"


def test_who_comes_back_stands_between_older_and_younger() -> None:
    waiting = _OriginPool[str, str]("a")
    tickets = [Ticket("a", number) for number in range(1, 6)]
    for place in (0, 1, 4, 2, 3):
        waiting.enqueue(tickets[place])
    assert list(waiting.waiting) == tickets


def open_one(pool: Pool[str, object], origin: str, idle_until: float) -> object:
    """A connection that is idle, and cannot be compared with another."""
    _, (begun,) = pool.ask(origin, 0.0)
    assert isinstance(begun, Open)
    connection = object()
    pool.opened(begun.opening, connection, idle_until)
    pool.release(connection, idle_until)
    return connection


def test_of_two_that_are_idle_for_equally_long_either_makes_room() -> None:
    pool: Pool[str, object] = Pool(PoolLimits(connections=2))
    idle = [open_one(pool, origin, 9.0) for origin in ("a", "b")]
    _, (closed, begun) = pool.ask("c", 0.0)
    assert isinstance(closed, Close)
    assert closed.connection in idle
    assert isinstance(begun, Open)


def test_an_idle_one_serves_who_asks_for_no_new_one() -> None:
    pool: Pool[str, object] = Pool(PoolLimits())
    connection = open_one(pool, "a", 9.0)
    ticket, actions = pool.ask("a", 0.0)
    assert actions == [ServeRequest(ticket, connection)]


def test_one_is_released_beside_another_that_lingers() -> None:
    pool: Pool[str, object] = Pool(PoolLimits())
    first = open_one(pool, "a", 9.0)
    assert pool.take("a", 0.0) is first
    second = open_one(pool, "a", 9.0)
    assert pool.take("a", 0.0) is second
    assert not pool.linger(first)
    assert not pool.release(second, 9.0)
    assert pool.take("a", 0.0) is second
