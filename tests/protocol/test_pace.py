"""The demand that octets keep moving: a table of looks at a clock."""

import pytest

from blazeio.protocol.pace import Pace


def new_pace() -> Pace:
    """At least 100 octets in each 10 seconds, from 1000 on."""
    return Pace(window_s=10, bytes_per_s=10, now=1000, moved_bytes=500)


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
    pace = Pace(window_s=1, bytes_per_s=10, now=0, moved_bytes=-1000)
    assert pace.keeps_up(1, -990)
    assert not pace.keeps_up(2, -985)


def test_a_rate_of_zero_is_always_kept() -> None:
    pace = Pace(window_s=1, bytes_per_s=0, now=0, moved_bytes=0)
    assert pace.keeps_up(1, 0)
