from blazeio_supervisor.fleet.context import SteadyClock

LATE_TICK_S = 0.1


def clock_at(now: float, *, next_in: float = 1.0) -> SteadyClock:
    clock = SteadyClock()
    clock.advance(now, LATE_TICK_S)
    clock.ask(now + next_in)
    return clock


def test_it_begins_at_the_clocks_reading() -> None:
    assert clock_at(50.0).time == 50.0


def test_early_and_punctual_turns_count_whole() -> None:
    clock = clock_at(50.0)
    clock.advance(50.4, LATE_TICK_S)
    clock.ask(51.4)
    clock.advance(51.45, LATE_TICK_S)
    assert clock.time == 51.45
    assert not clock.is_void


def test_of_a_late_turn_the_surplus_does_not_count() -> None:
    clock = clock_at(50.0)
    clock.advance(111.0, LATE_TICK_S)
    assert clock.time == 51.1
    assert clock.is_void


def test_a_turn_may_be_late_by_so_much_and_no_more() -> None:
    for now, is_void in ((51.125, False), (51.25, True)):
        clock = clock_at(50.0)
        clock.advance(now, late_tick_s=0.125)
        assert (clock.time, clock.is_void) == (51.125, is_void)


def test_two_turns_at_one_reading_are_neither_late_nor_void() -> None:
    clock = clock_at(50.0)
    clock.advance(50.0, LATE_TICK_S)
    assert (clock.time, clock.is_late, clock.is_void) == (50.0, False, False)


def test_what_is_due_at_this_very_moment_is_due_now() -> None:
    assert clock_at(50.0).ask(50.0) == 50.0


def test_only_the_first_late_turn_is_void() -> None:
    clock = clock_at(50.0)
    clock.advance(60.0, LATE_TICK_S)
    clock.ask(clock.time + 1.0)
    clock.advance(70.0, LATE_TICK_S)
    assert not clock.is_void


def test_a_punctual_turn_makes_the_next_late_one_void_again() -> None:
    clock = clock_at(50.0)
    for now in (60.0, 61.0, 70.0):
        clock.advance(now, LATE_TICK_S)
        clock.ask(clock.time + 1.0)
    assert clock.is_void


def test_a_clock_that_goes_back_stands_still_and_is_void() -> None:
    clock = clock_at(50.0)
    clock.advance(40.0, LATE_TICK_S)
    assert clock.time == 50.0
    assert clock.is_void


def test_deadlines_are_asked_for_in_clock_time() -> None:
    clock = clock_at(50.0)
    clock.advance(111.0, LATE_TICK_S)
    assert round(clock.ask(clock.time + 2.0), 6) == 113.0


def test_a_wait_too_short_for_the_clocks_digits_is_no_spin() -> None:
    clock = clock_at(1e9)
    clock.advance(1e9 + 64.0, LATE_TICK_S)
    assert clock.ask(clock.time + 1e-7) > 1e9 + 64.0


def test_a_deadline_in_the_past_is_due_now() -> None:
    clock = clock_at(50.0)
    assert clock.ask(30.0) == 50.0
