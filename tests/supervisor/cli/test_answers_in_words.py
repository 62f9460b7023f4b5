import pytest

from blazeio_supervisor.cli.orders import (
    format_park,
    format_recycle,
    format_reload,
    format_scale,
    format_upgrade,
)
from blazeio_supervisor.cli.output import (
    describe_failures,
    format_bar,
    format_progress,
    format_step,
)
from blazeio_supervisor.cli.queries import format_config, format_stacks
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
    ParkAnswer,
    RecycleAnswer,
    Recycled,
    ReloadAnswer,
    ScaleAnswer,
    StackAnswer,
    UpgradeAnswer,
    WorkerStack,
)
from blazeio_supervisor.ipc.status_api import (
    Progress,
)
from tests.supervisor.cli.test_status_table import make_slot


def test_a_step_of_a_reload_is_one_line() -> None:
    progress = Progress(step="rolling", generation=4, replaced=1, slots=3)
    assert (
        format_progress(progress) == "generation 4, in 1 of 3 slots: replacing workers"
    )


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
    assert format_scale(ScaleAnswer(4, 8)) == "8 workers wanted, 4 before"
    assert format_scale(ScaleAnswer(4, 4)) == "4 workers, as before"
    answer = RecycleAnswer([Recycled(1, 7), Recycled(2, None)])
    first, second = format_recycle(answer).splitlines()
    assert "slot 1: pid 7 drains" in first
    assert "slot 2 has no worker: one is tried at once" in second


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ParkAnswer(True), "parked: the workers drain"),
        (ParkAnswer(True, "reload"), "will be parked when the reload is over"),
        (ParkAnswer(False), "resumed"),
    ],
)
def test_park_and_resume_are_told(answer: ParkAnswer, words: str) -> None:
    assert format_park(answer).startswith(words)


def make_stack(text: str, is_whole: bool) -> str:
    stack = WorkerStack(
        slot=1, pid=7, generation=3, state="serving", text=text, is_whole=is_whole
    )
    return format_stacks(StackAnswer([stack]))


@pytest.mark.parametrize(
    ("text", "is_whole", "end"),
    [
        ("threads\n\ntasks\n", True, "\n  tasks"),
        ("threads\n", False, "C code computes, or it is stopped."),
        ("", False, "It says nothing: it is stopped, or just being made."),
    ],
)
def test_the_stacks_of_a_worker_stand_below_its_name(
    text: str, is_whole: bool, end: str
) -> None:
    written = make_stack(text, is_whole)
    assert written.startswith("== slot 1, pid 7, generation 3, serving\n")
    assert written.endswith(end)


def test_how_the_worker_was_started_is_left_out_of_its_stacks() -> None:
    room = "/usr/lib/blazeio_supervisor/worker"
    text = f"""\
Current thread 0x1 (most recent call first):
  File "/srv/app.py", line 19 in report
  File "{room}/worker.py", line 181 in _serve
  File "{room}/worker.py", line 136 in _load_and_serve
  File "<frozen runpy>", line 198 in _run_module_as_main

worker=1: its loop is in GET /report"""
    assert make_stack(text, True).splitlines()[1:] == [
        "  Current thread 0x1 (most recent call first):",
        '    File "/srv/app.py", line 19 in report',
        "    (from here on the worker's own start)",
        "",
        "  worker=1: its loop is in GET /report",
    ]


def test_what_waits_for_a_restart_stands_below_the_settings() -> None:
    answer = ConfigAnswer(settings=[], needs_restart=["workers"], text="a = 1\n")
    assert format_config(answer).splitlines() == [
        "a = 1",
        "",
        "# Changed since the start, and not in force before the next: workers",
    ]


def test_a_bar_shows_how_much_is_done() -> None:
    assert format_bar(1, 4, 8) == "[##------] 1 of 4"
    assert format_bar(0, 0, 2) == "[--] 0 of 0"
    progress = Progress(step="rolling_back", generation=4, replaced=2, slots=2)
    assert format_step(progress) == (
        "[####################] 2 of 2 slots, generation 4: going back to the old code"
    )


@pytest.mark.parametrize(
    ("is_ok", "is_check", "words"),
    [
        (True, False, "upgraded: blazeio 3.0 has taken over (1.0 s)"),
        (True, True, "blazeio 3.0 could take over (1.0 s)"),
        (False, False, "no upgrade, the running code goes on: no module"),
        (False, True, "no upgrade, the running code goes on: no module"),
    ],
)
def test_an_upgrade_is_told(is_ok: bool, is_check: bool, words: str) -> None:
    answer = UpgradeAnswer(
        number=1,
        is_over=True,
        is_ok=is_ok,
        reason="" if is_ok else "no module",
        version="3.0",
        took_s=1.0,
    )
    assert format_upgrade(answer, is_check=is_check) == words


@pytest.mark.parametrize(
    ("failures", "is_failing", "words"),
    [
        (0, False, ""),
        (1, False, "failed once 12 s ago: killed by SIGKILL"),
        (4, True, "fails, 4 times in a row, the last 12 s ago: killed by SIGKILL"),
    ],
)
def test_it_is_told_how_a_slot_has_failed(
    failures: int, is_failing: bool, words: str
) -> None:
    slot = make_slot(
        0,
        failures=failures,
        is_failing=is_failing,
        failed_s=12.0,
        failure="killed by SIGKILL",
    )
    assert describe_failures(slot) == words


@pytest.mark.parametrize(
    ("is_ok", "words"),
    [
        (True, "superseded by a later reload: generation 4 serves"),
        (False, "superseded by a later reload, which failed, after 1.0 s"),
    ],
)
def test_a_reload_that_was_superseded_ends_as_the_later_one(
    is_ok: bool, words: str
) -> None:
    answer = ReloadAnswer(
        is_over=True, is_ok=is_ok, generation=4, took_s=1.0, is_superseded=True
    )
    assert format_reload(answer).startswith(words)
