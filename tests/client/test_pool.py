"""The pool by tables, and by random histories of one."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from blazeio.client.pool import (
    IDEMPOTENT,
    Abandon,
    Close,
    Fail,
    Open,
    Opening,
    Pool,
    PoolLimits,
    ServeRequest,
    Ticket,
    may_retry,
)

IDLE_S = 10.0


class Driven:
    """A pool, and a world in which every action is carried out at once."""

    def __init__(self, connections: int = 4, per_origin: int = 2) -> None:
        limits = PoolLimits(
            connections=connections, connections_per_origin=per_origin, idle_s=IDLE_S
        )
        self.pool: Pool[str, str] = Pool(limits)
        self.now = 0.0
        self.openings: list[Opening[str]] = []
        self.served: dict[int, str] = {}
        self.closed: list[str] = []
        self.failed: list[int] = []
        self.made = 0

    def do(self, actions: Sequence[object]) -> None:
        for action in actions:
            match action:
                case Open(opening):
                    self.openings.append(opening)
                case Abandon(opening):
                    self.openings.remove(opening)
                case Close(connection):
                    self.closed.append(connection)
                case ServeRequest(ticket, connection):
                    self.served[ticket.number] = connection
                case Fail(ticket):
                    self.failed.append(ticket.number)

    def ask(self, origin: str = "a", *, needs_new: bool = False) -> Ticket[str]:
        ticket, actions = self.pool.ask(origin, self.now, needs_new=needs_new)
        self.do(actions)
        return ticket

    def succeed(self) -> str:
        opening = self.openings.pop(0)
        self.made += 1
        connection = f"{opening.origin}{self.made}"
        self.do(self.pool.opened(opening, connection, self.now + IDLE_S))
        return connection

    def release(self, connection: str) -> None:
        self.do(self.pool.release(connection, self.now + IDLE_S))


def test_a_connection_is_opened_for_who_asks_and_used_again() -> None:
    world = Driven()
    ticket = world.ask()
    assert repr(world.pool) == "<Pool a: 1 opening, 1 waiting>"
    connection = world.succeed()
    assert world.served == {ticket.number: connection}
    assert repr(world.pool) == "<Pool a: 1 busy>"
    world.release(connection)
    assert repr(world.pool) == "<Pool a: 1 idle>"
    assert world.pool.take("a", world.now) == connection
    assert world.pool.take("a", world.now) is None


def test_what_was_used_last_is_used_next() -> None:
    world = Driven()
    world.ask(), world.ask()
    first, second = world.succeed(), world.succeed()
    world.release(second)
    world.release(first)
    assert world.pool.take("a", world.now) == first


def test_no_more_than_the_bound_of_an_origin_are_opened() -> None:
    world = Driven(per_origin=2)
    for _ in range(5):
        world.ask()
    assert repr(world.pool) == "<Pool a: 2 opening, 5 waiting>"


def test_who_asked_first_is_served_first() -> None:
    world = Driven(per_origin=1)
    tickets = [world.ask() for _ in range(3)]
    connection = world.succeed()
    world.release(connection)
    world.release(connection)
    assert list(world.served) == [each.number for each in tickets]


def test_the_connection_that_has_been_idle_for_longest_makes_room() -> None:
    world = Driven(connections=2)
    for origin in ("a", "b"):
        world.ask(origin)
    first, second = world.succeed(), world.succeed()
    world.release(second)  # "b2" has been idle for longer, "a1" is older
    world.now += 1.0
    world.release(first)
    world.ask("c")
    assert world.closed == [second]


def test_an_idle_connection_of_another_origin_makes_room() -> None:
    world = Driven(connections=1)
    world.ask("a")
    world.release(world.succeed())
    world.ask("b")
    assert world.closed == ["a1"]
    assert repr(world.pool) == "<Pool b: 1 opening, 1 waiting>"


def test_at_the_bound_of_all_the_oldest_of_any_origin_is_next() -> None:
    world = Driven(connections=1)
    world.ask("a")
    connection = world.succeed()
    other, same = world.ask("b"), world.ask("a")
    world.release(connection)
    assert world.closed == ["a1"]
    world.release(world.succeed())
    assert world.served[other.number] == "b2"
    world.succeed()
    assert world.served[same.number] == "a3"


def test_an_attempt_that_is_under_way_fills_the_bound_of_all() -> None:
    world = Driven(connections=2)
    world.ask("a")
    connection = world.succeed()
    world.ask("b")
    world.ask("b")  # for which there is no room
    world.release(connection)
    assert world.closed == ["a1"]
    assert [each.origin for each in world.openings] == ["b", "b"]


def test_a_failed_attempt_fails_the_first_and_the_next_gets_another() -> None:
    world = Driven(per_origin=1)
    first, second = world.ask(), world.ask()
    world.do(world.pool.failed(world.openings.pop()))
    assert world.failed == [first.number]
    world.succeed()
    assert second.number in world.served


def test_a_failed_attempt_fails_nobody_else() -> None:
    world = Driven(per_origin=1)
    world.ask()
    connection = world.succeed()
    first, second = world.ask(), world.ask()
    world.do(world.pool.lost(connection))
    (attempt,) = world.openings
    assert attempt.ticket is first
    world.do(world.pool.withdraw(first))
    world.openings.remove(attempt)
    world.do(world.pool.failed(attempt))
    assert world.failed == []
    assert [each.ticket for each in world.openings] == [second]


def test_who_was_served_by_a_dead_one_keeps_the_place() -> None:
    world = Driven(per_origin=1)
    tickets = [world.ask() for _ in range(4)]
    connection = world.succeed()
    world.release(connection)
    served = tickets[1]
    world.do(world.pool.refuse(served, connection, world.now))
    assert repr(world.pool) == "<Pool a: 1 opening, 3 waiting>"
    assert world.openings[0].ticket is served
    world.release(world.succeed())
    assert list(world.served.items()) == [
        (tickets[0].number, "a1"),
        (tickets[1].number, "a2"),
        (tickets[2].number, "a2"),
    ]


def test_several_who_come_back_stand_in_the_order_in_which_they_asked() -> None:
    world = Driven(per_origin=2)
    tickets = [world.ask() for _ in range(5)]
    connections = [world.succeed(), world.succeed()]
    for each in connections:
        world.release(each)
    world.do(world.pool.refuse(tickets[2], connections[0], world.now))
    world.do(world.pool.refuse(tickets[3], connections[1], world.now))
    world.succeed(), world.succeed()
    assert list(world.served)[-2:] == [tickets[2].number, tickets[3].number]


def test_who_needs_a_new_one_is_not_served_by_another() -> None:
    world = Driven(per_origin=2)
    world.ask()
    connection = world.succeed()
    other = world.ask(needs_new=True)
    world.release(connection)
    assert repr(world.pool) == "<Pool a: 1 idle, 1 opening, 1 waiting>"
    assert world.pool.take("a", world.now) == connection
    world.succeed()
    assert world.served[other.number] == "a2"


@pytest.mark.parametrize("is_idle", [True, False])
def test_for_who_needs_a_new_one_another_is_closed_at_the_bound(is_idle: bool) -> None:
    world = Driven(per_origin=1)
    world.ask()
    connection = world.succeed()
    if is_idle:
        world.release(connection)
    other = world.ask(needs_new=True)
    if not is_idle:
        assert world.closed == []
        world.release(connection)
    assert world.closed == [connection]
    world.succeed()
    assert world.served[other.number] == "a2"


@pytest.mark.parametrize("origin", ["a", "b"])
@pytest.mark.parametrize("is_asked_before", [True, False])
def test_what_only_lingers_makes_room(origin: str, is_asked_before: bool) -> None:
    world = Driven(connections=1)
    world.ask()
    connection = world.succeed()
    if is_asked_before:
        world.ask(origin)
    world.do(world.pool.linger(connection))
    assert world.closed == [connection] * is_asked_before
    if not is_asked_before:
        world.ask(origin)
    assert world.closed == [connection]
    assert repr(world.pool) == f"<Pool {origin}: 1 opening, 1 waiting>"


def test_what_lingers_is_kept_where_nobody_needs_its_room() -> None:
    world = Driven(connections=2, per_origin=1)
    world.ask()
    connection = world.succeed()
    world.do(world.pool.linger(connection))
    world.ask("b")
    assert world.closed == []
    world.release(connection)
    assert world.pool.take("a", world.now) == connection


def test_who_withdraws_takes_a_surplus_attempt_along() -> None:
    world = Driven()
    first, second = world.ask(), world.ask()
    world.do(world.pool.withdraw(first))
    assert repr(world.pool) == "<Pool a: 1 opening, 1 waiting>"
    world.do(world.pool.withdraw(second))
    assert (repr(world.pool), world.openings) == ("<Pool empty>", [])
    assert world.pool.withdraw(second) == ()


def test_an_attempt_outlives_who_was_served_by_another() -> None:
    world = Driven()
    world.ask()
    connection = world.succeed()
    waiting = world.ask()
    world.release(connection)
    assert world.served[waiting.number] == connection
    world.succeed()
    assert repr(world.pool) == "<Pool a: 1 idle, 1 busy>"


def test_a_lost_connection_serves_nobody_and_makes_room() -> None:
    world = Driven(connections=1)
    world.ask("a")
    connection = world.succeed()
    world.release(connection)
    world.do(world.pool.lost(connection))
    assert world.pool.take("a", world.now) is None
    assert world.pool.lost(connection) == ()
    assert repr(world.pool) == "<Pool empty>"


def test_what_was_idle_for_too_long_is_closed_and_not_taken() -> None:
    world = Driven()
    world.ask()
    world.release(world.succeed())
    assert world.pool.take("a", IDLE_S) is None
    world.now = IDLE_S
    world.ask()
    assert world.closed == ["a1"]
    assert repr(world.pool) == "<Pool a: 1 opening, 1 waiting>"


def test_when_it_is_shut_everybody_is_told() -> None:
    world = Driven(per_origin=1)
    world.ask("a")
    world.succeed()
    waiting = world.ask("b")
    world.do(world.pool.close_all())
    assert (world.closed, world.openings) == (["a1"], [])
    assert world.failed == [waiting.number]
    assert repr(world.pool) == "<Pool empty>"


def test_after_it_is_shut_nothing_is_opened() -> None:
    world = Driven(per_origin=1)
    served = world.ask()
    connection = world.succeed()
    world.do(world.pool.close_all())
    late = world.ask()
    world.release(connection)
    world.do(world.pool.linger(connection))
    world.do(world.pool.refuse(served, connection, world.now))
    assert (world.failed, world.openings) == ([late.number, served.number], [])
    assert repr(world.pool) == "<Pool empty>"


REPEATABLE: dict[str, Any] = {"status": 0, "was_reused": True, "can_repeat": True}


@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
@pytest.mark.parametrize("was_reused", [False, True])
def test_an_idempotent_request_is_sent_once_more(method: str, was_reused: bool) -> None:
    assert may_retry(method, **{**REPEATABLE, "was_reused": was_reused})


@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
def test_a_408_on_a_kept_connection_is_no_answer(method: str) -> None:
    assert may_retry(method, **{**REPEATABLE, "status": 408})


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        ("POST", {}),
        ("PATCH", {}),
        ("get", {}),
        ("CONNECT", {}),
        ("GET", {"status": 408, "was_reused": False}),
        ("POST", {"status": 408}),
        ("GET", {"status": 200}),
        ("GET", {"status": 503}),
        ("PUT", {"can_repeat": False}),
        ("PUT", {"status": 408, "can_repeat": False}),
    ],
)
def test_what_could_do_harm_or_is_answered_is_not_sent_again(
    method: str, changed: dict[str, Any]
) -> None:
    assert not may_retry(method, **{**REPEATABLE, **changed})


class Histories(RuleBasedStateMachine):
    """Any history keeps the laws of the module's docstring."""

    @initialize(connections=st.integers(1, 4), per_origin=st.integers(1, 3))
    def begin(self, connections: int, per_origin: int) -> None:
        self.world = Driven(connections, per_origin)
        self.limits = PoolLimits(
            connections=connections, connections_per_origin=per_origin, idle_s=IDLE_S
        )
        self.waiting: dict[int, Ticket[str]] = {}
        self.alive: dict[str, float] = {}  # until when it may be used; inf: busy
        self.lingering: set[str] = set()
        self.unused: set[str] = set()
        self.holders: dict[str, Ticket[str]] = {}  # served, and not begun yet
        self.is_shut = False

    def do(self, actions: Sequence[object]) -> None:
        for action in actions:
            if isinstance(action, ServeRequest):
                connection = action.connection
                ticket = self.waiting.pop(action.ticket.number)
                assert connection in self.alive, "served by a dead connection"
                assert connection[0] == ticket.origin
                is_new = connection in self.unused
                assert is_new or not ticket.needs_new
                older = [
                    each
                    for each in self.waiting.values()
                    if each.origin == ticket.origin and each.number < ticket.number
                    if is_new or not each.needs_new
                ]
                assert not older, "somebody has waited longer"
                self.alive[connection] = float("inf")
                self.holders[connection] = ticket
            elif isinstance(action, Close):
                connection = action.connection
                is_used = self.alive.pop(connection) == float("inf")
                assert self.is_shut or not is_used or connection in self.lingering
                self.lingering.discard(connection)
                self.unused.discard(connection)
            elif isinstance(action, Fail):
                del self.waiting[action.ticket.number]
            elif isinstance(action, Open):
                assert not self.is_shut
                assert action.opening.ticket.number in self.waiting
        self.world.do(actions)

    @rule(origin=st.sampled_from("abc"), needs_new=st.booleans())
    def ask(self, origin: str, needs_new: bool) -> None:
        pool = self.world.pool
        connection = None if needs_new else pool.take(origin, self.world.now)
        if connection is not None:
            assert self.world.now < self.alive[connection] < float("inf")
            self.alive[connection] = float("inf")
            self.unused.discard(connection)
            return
        ticket, actions = pool.ask(origin, self.world.now, needs_new=needs_new)
        self.waiting[ticket.number] = ticket
        self.do(actions)

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        """What was served turns out to be dead; it may have been told lost, too."""
        if not self.holders:
            return
        connection = data.draw(st.sampled_from(sorted(self.holders)))
        ticket = self.holders.pop(connection)
        if ticket.needs_new:
            return
        self.alive.pop(connection, None)
        self.unused.discard(connection)
        self.waiting[ticket.number] = ticket
        self.do(self.world.pool.refuse(ticket, connection, self.world.now))

    @rule(data=st.data())
    def begin_to_linger(self, data: st.DataObject) -> None:
        if busy := self.busy_ones():
            connection = data.draw(st.sampled_from(busy))
            self.holders.pop(connection, None)
            self.unused.discard(connection)
            self.lingering.add(connection)
            self.do(self.world.pool.linger(connection))

    @precondition(lambda self: not self.is_shut)
    @rule(chance=st.integers(0, 19))
    def close_all(self, chance: int) -> None:
        if chance == 0:
            self.is_shut = True
            self.do(self.world.pool.close_all())
            left = [*self.waiting, *self.alive, *self.world.openings]
            assert left == []

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.waiting:
            number = data.draw(st.sampled_from(sorted(self.waiting)))
            self.do(self.world.pool.withdraw(self.waiting.pop(number)))

    @rule(data=st.data(), succeeds=st.booleans())
    def end_attempt(self, data: st.DataObject, succeeds: bool) -> None:
        if not self.world.openings:
            return
        opening = data.draw(st.sampled_from(self.world.openings))
        self.world.openings.remove(opening)
        if not succeeds:
            is_awaited = opening.ticket.number in self.waiting
            before = len(self.world.failed)
            self.do(self.world.pool.failed(opening))
            told = [opening.ticket.number] if is_awaited else []
            assert self.world.failed[before:] == told
            return
        self.world.made += 1
        connection = f"{opening.origin}{self.world.made}"
        until = self.world.now + IDLE_S
        self.alive[connection] = until
        self.unused.add(connection)
        self.do(self.world.pool.opened(opening, connection, until))

    def busy_ones(self) -> list[str]:
        return [name for name, until in self.alive.items() if until == float("inf")]

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if busy := self.busy_ones():
            connection = data.draw(st.sampled_from(busy))
            until = self.alive[connection] = self.world.now + IDLE_S
            self.unused.discard(connection)
            self.lingering.discard(connection)
            self.holders.pop(connection, None)
            self.do(self.world.pool.release(connection, until))

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        if self.alive:
            connection = data.draw(st.sampled_from(sorted(self.alive)))
            del self.alive[connection]
            self.unused.discard(connection)
            self.lingering.discard(connection)
            self.do(self.world.pool.lost(connection))
            assert self.world.pool.release(connection, self.world.now) == ()

    @rule(span_s=st.sampled_from([1.0, IDLE_S]))
    def wait(self, span_s: float) -> None:
        self.world.now += span_s
        self.do(self.world.pool.expire(self.world.now))

    @invariant()
    def the_bounds_hold(self) -> None:
        names = [*self.alive, *(each.origin for each in self.world.openings)]
        assert len(names) <= self.limits.connections
        for origin in "abc":
            of_origin = [name for name in names if name[0] == origin]
            assert len(of_origin) <= self.limits.connections_per_origin

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """Each who waits has an attempt, or stands behind a bound."""
        count = len(self.alive) + len(self.world.openings)
        idle = [name for name, until in self.alive.items() if until < float("inf")]
        for origin in "abc":
            waiting = [t for t in self.waiting.values() if t.origin == origin]
            own = [name for name in self.alive if name[0] == origin]
            attempts = [o for o in self.world.openings if o.origin == origin]
            if any(not each.needs_new for each in waiting):
                assert not set(own) & set(idle)
            if len(waiting) > len(attempts):
                is_at_own = (
                    len(own) + len(attempts) >= self.limits.connections_per_origin
                )
                is_full = count >= self.limits.connections
                assert is_at_own or is_full
                spare = {*idle, *self.lingering}
                assert not spare & set(own if is_at_own else self.alive)


TestHistories = pytest.mark.slow(Histories.TestCase)
Histories.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None
)
