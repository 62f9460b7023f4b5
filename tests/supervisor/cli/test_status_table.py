from typing import Any

import pytest

from blazeio_supervisor.cli.output import format_status, list_lines, name_state
from blazeio_supervisor.ipc.status_api import (
    BroadcastAnswer,
    Progress,
    SlotAnswer,
    StatusAnswer,
    TaskAnswer,
    WorkerAnswer,
)

MIB = 1024 * 1024


def make_slot(slot: int, **changes: object) -> SlotAnswer:
    fields: dict[str, object] = {
        "is_parked": False,
        "adopted_by": None,
        "weight": 50,
        "failures": 0,
        "retry_in_s": 0.0,
        "requests": 0,
    }
    return SlotAnswer(slot=slot, **{**fields, **changes})  # type: ignore[arg-type]


def make_worker(slot: int, **changes: object) -> WorkerAnswer:
    fields: dict[str, object] = {
        "pid": 4713 + slot,
        "role": "owner",
        "state": "serving",
        "generation": 3,
        "age_s": 7260.0,
        "in_flight": 2,
        "connections": 40,
        "requests": 1_234_567,
        "lag_s": 0.0004,
        "own_bytes": int(12.5 * MIB),
    }
    return WorkerAnswer(slot=slot, **{**fields, **changes})  # type: ignore[arg-type]


def make_status(
    slots: list[SlotAnswer], workers: list[WorkerAnswer], **changes: object
) -> StatusAnswer:
    fields: dict[str, object] = {
        "pid": 4711,
        "name": "app:web",
        "app": "app:web",
        "age_s": 93_600.0,
        "addresses": ["http://127.0.0.1:8000"],
        "listeners": "slots",
        "steering": "load",
        "is_steered": True,
        "loading": "once",
        "generation": 3,
        "has_served": True,
        "is_ready": True,
        "is_parked": False,
        "will_park": False,
        "is_leaving": False,
        "is_stopping": False,
        "reload": None,
        "forkservers": [],
    }
    return StatusAnswer(slots=slots, workers=workers, **{**fields, **changes})  # type: ignore[arg-type]


def test_a_healthy_service_fits_into_80_columns() -> None:
    slot = make_slot(0, queue_length=3, queue_limit=2048)
    text = format_status(make_status([slot], [make_worker(0)]))
    head, where, how, loading, empty, heads, row = text.splitlines()
    assert head == "app:web: master pid 4711, generation 3, up 1 d 2 h"
    assert where == "  http://127.0.0.1:8000"
    assert how == "  a queue per slot, steered by load"
    assert loading == "  app imported once, workers are forks of it"
    assert empty == ""
    assert heads.endswith("age in flight conns requests  queue    lag      USS")
    assert row.endswith("2 h 1 m         2    40     1.2M 3/2048 0.4 ms 12.5 MiB")
    assert max(map(len, text.splitlines())) <= 80


def test_threads_are_shown_where_there_are_some() -> None:
    workers = [
        make_worker(0, threads=4, threads_busy=4, waiting=1200),
        make_worker(1, threads=4, threads_busy=1),
        make_worker(1, role="leaving"),
    ]
    status = make_status([make_slot(0), make_slot(1)], workers)
    *_, heads, first, second, third = format_status(status, 140).splitlines()
    assert "in flight    threads  conns" in heads
    assert " 4/4 +1200 " in first
    assert "  1/4  " in second
    assert " - " in third


@pytest.mark.parametrize("role", ["owner", "leaving"])
def test_what_runs_on_after_its_response_is_told(role: str) -> None:
    workers = [make_worker(0, role=role, in_flight=3, background=2)]
    text = format_status(make_status([make_slot(0)], workers), 140)
    assert text.endswith("2 of them after the response")


def test_a_wide_terminal_shows_the_weights_too() -> None:
    text = format_status(make_status([make_slot(0)], [make_worker(0)]), 140)
    assert text.splitlines()[-2].endswith("USS  weight")
    assert text.endswith("12.5 MiB      50")


def test_a_slot_without_a_worker_says_what_is_done() -> None:
    slot = make_slot(
        0, adopted_by=1, failures=3, is_failing=True, failure="no room", retry_in_s=1.5
    )
    text = format_status(make_status([slot], []), 140)
    assert "adopted by slot 1, next try in 1.5 s\n" in text
    assert text.endswith("\nslot 0 fails, 3 times in a row, the last: no room")
    assert "empty" in text


def test_a_parked_slot_is_no_failure() -> None:
    slot = make_slot(0, is_parked=True, adopted_by=1)
    text = format_status(make_status([slot], []))
    assert "parked" in text
    assert text.endswith("adopted by slot 1")


def test_one_that_is_late_says_for_how_long() -> None:
    worker = make_worker(0, is_late=True, silent_s=2.6, in_flight=3)
    *_, row, _, advice = format_status(
        make_status([make_slot(0)], [worker])
    ).splitlines()
    assert " late " in row
    assert " 2.6 s " in row
    assert " 3? " in row  # it cannot say what has come since
    assert advice == "slot 0 is late: `stack 0` shows where it is"


def test_what_is_odd_of_a_worker_stands_behind_it() -> None:
    worker = make_worker(0, retire_reason="asked for")
    text = format_status(make_status([make_slot(0)], [worker]), 140)
    assert text.endswith("to be replaced: asked for")


@pytest.mark.parametrize("role", ["successor", "canary", "leaving"])
def test_who_does_not_own_the_slot_is_named_so(role: str) -> None:
    workers = [make_worker(0), make_worker(0, role=role, pid=None)]
    text = format_status(make_status([make_slot(0)], workers))
    assert text.endswith(role)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "shop"}, "shop (app:web): master pid 4711"),
        ({"has_served": False}, "starting"),
        ({"is_parked": True}, ", parked: connections wait"),
        ({"will_park": True}, ", to be parked"),
        ({"is_stopping": True}, "stopping"),
        ({"is_leaving": True}, "leaving: not ready, still serving"),
        ({"steering": "even"}, "a queue per slot, steered evenly"),
        ({"steering": "off", "is_steered": False}, "a queue per slot, not steered"),
        ({"addresses": []}, "no address yet"),
        ({"listeners": "shared", "is_steered": False}, "one shared queue, not steered"),
        ({"loading": "each worker"}, "a respawn runs the code on disk"),
        (
            {
                "reload": Progress(
                    step="rolling_back", generation=4, replaced=0, slots=2
                )
            },
            "reload: generation 4, in 0 of 2 slots: going back to the old code",
        ),
    ],
)
def test_the_state_of_the_service_is_in_words(
    changes: dict[str, object], words: str
) -> None:
    assert words in format_status(make_status([], [], **changes))


def test_how_a_slot_has_failed_stands_below_the_table() -> None:
    once = make_slot(0, failures=1, failed_s=12.0, failure="killed by SIGKILL")
    parked = make_slot(1, failures=1, is_parked=True)
    text = format_status(make_status([once, parked], [make_worker(0)]), 140)
    assert "serving" in text
    assert text.endswith("\nslot 0 failed once 12 s ago: killed by SIGKILL")


def test_the_slots_of_a_parked_service_are_parked() -> None:
    leaving = make_worker(1, role="leaving", state="draining")
    slots = [make_slot(0), make_slot(1)]
    lines = list_lines(make_status(slots, [leaving], is_parked=True))
    assert [name_state(line) for line in lines] == ["parked", "parked", "draining"]
    assert name_state(list_lines(make_status(slots, []))[0]) == "empty"


def test_a_name_that_leaves_no_room_has_a_line_of_its_own() -> None:
    status = make_status([make_slot(0)], [make_worker(0)], name="n" * 60)
    first, second, *_ = format_status(status, 80).splitlines()
    assert first == f"{'n' * 60} (app:web)"
    assert second.startswith("  master pid ")
    assert format_status(status, 200).splitlines()[0].startswith(f"{first}: master pid")


def make_task(name: str, **fields: Any) -> TaskAnswer:
    blank = dict.fromkeys(("slot", "began_s", "took_s", "next_in_s"))
    usual = {"is_running": False, "runs": 0, "failures": 0, "failure": ""}
    return TaskAnswer(**{"name": name, "schedule": "", **blank, **usual, **fields})


def test_messages_between_workers_are_told_where_there_were_any() -> None:
    def write(**counts: int) -> list[str]:
        answer = BroadcastAnswer(**counts)
        status = make_status([make_slot(0)], [make_worker(0)], broadcasts=answer)
        return [each for each in format_status(status).splitlines() if "broad" in each]

    assert write() == []
    told = write(messages=1_000_000, delivered=3_000_000)
    assert told == ["broadcasts: 1.0M sent, 3.0M delivered"]
    assert write(messages=4, dropped=2)[0].endswith(" 0 delivered, 2 dropped")


def test_tasks_that_run_once_are_listed_with_where_and_when() -> None:
    tasks = [
        make_task("app.listen", is_running=True, began_s=30.0, runs=1),
        make_task(
            "app.clean",
            schedule="every 900 s",
            next_in_s=60.0,
            began_s=840.0,
            runs=4,
            failures=1,
            failure="OSError: no room",
        ),
        make_task("app.report", schedule="at 03:00", next_in_s=3600.0),
    ]
    status = make_status([make_slot(0)], [make_worker(0)], tasks=tasks, task_slot=0)
    assert format_status(status).splitlines()[-4:] == [
        "tasks that run once, in slot 0:",
        "  app.listen: runs now, began 30 s ago",
        "  app.clean: every 900 s, next in 1 min, began 14 min ago, "
        "1 of 4 runs failed, the last: OSError: no room",
        "  app.report: at 03:00, next in 1 h 0 m",
    ]
