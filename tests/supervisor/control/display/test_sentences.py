import pytest

from blazeio_supervisor.control.answers import (
    Progress,
    RecycleAnswer,
    ReloadAnswer,
    ScaleAnswer,
)
from blazeio_supervisor.control.display.sentences import (
    format_progress,
    format_recycle,
    format_reload,
    format_scale,
)


def test_a_step_of_a_reload_is_one_line() -> None:
    progress = Progress(step="rolling", generation=4, replaced=1, slots=3)
    assert format_progress(progress) == "rolling, generation 4 in 1 of 3 slots"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ReloadAnswer(is_over=False), "reload asked for"),
        (ReloadAnswer(is_over=True, is_ok=True, generation=2), "generation 2 serves"),
        (ReloadAnswer(is_over=True, reason="no database"), "failed, after 0.0 s: no d"),
    ],
)
def test_a_reload_is_told_in_one_line(answer: ReloadAnswer, words: str) -> None:
    assert words in format_reload(answer)
    assert "\n" not in format_reload(answer)


def test_scale_and_recycle_are_told() -> None:
    assert format_scale(ScaleAnswer(4, 8)) == "8 worker(s) wanted, 4 before"
    assert format_scale(ScaleAnswer(4, 4)) == "4 worker(s), as before"
    assert "pid 7 drains" in format_recycle(RecycleAnswer(1, 7))
    assert "tried at once" in format_recycle(RecycleAnswer(1, None))
