import pytest
from msgspec.structs import replace

from blazeio_supervisor.cli.top_screen import Rates, View, WorkerRates, draw, list_slots
from blazeio_supervisor.ipc.status_api import BroadcastAnswer, Progress
from tests.supervisor.cli.test_status_table import (
    MIB,
    make_slot,
    make_status,
    make_task,
    make_worker,
)


def make_view(count: int = 2, **changes: object) -> View:
    slots = [make_slot(at, queue_length=at, queue_limit=128) for at in range(count)]
    workers = [make_worker(at, own_bytes=9 * MIB) for at in range(count)]
    rates = {each.pid or 0: WorkerRates(1234.5, 0.06, 0.005) for each in workers}
    status = make_status(slots, workers)
    view = View(status, Rates(rates, 2469.0))
    return replace(view, **changes)


def write(view: View, width: int = 80, height: int = 24) -> list[str]:
    return [line.text.rstrip() for line in draw(view, width, height)]


def test_everything_is_there_at_80_columns() -> None:
    assert write(make_view()) == [
        "app:web: master pid 4711, generation 3, up 1 d 2 h",
        "  http://127.0.0.1:8000",
        "  a queue per slot, steered by load",
        "",
        "slot  pid state   gen req/s in flight conns lag p99 queue cpu      USS weight",
        "   0 4713 serving   3  1234         2    40   <5 ms 0/128  6%  9.0 MiB     50",
        "   1 4714 serving   3  1234         2    40   <5 ms 1/128  6%  9.0 MiB     50",
        " all      2 serve      2469         4    80             1 12% 18.0 MiB",
        "",
        "",
        "r reload  +/- scale  c recycle  s stack  o sort  p park  w resume  q quit",
    ]


@pytest.mark.parametrize("width", [20, 80, 140])
@pytest.mark.parametrize("count", [1, 16, 200])
@pytest.mark.parametrize("height", [1, 10, 24])
def test_it_never_is_larger_than_the_terminal(
    width: int, count: int, height: int
) -> None:
    lines = draw(make_view(count), width, height)
    assert len(lines) <= height
    assert max(len(line.text) for line in lines) <= width


def test_slots_that_do_not_fit_are_counted_and_the_chosen_one_is_seen() -> None:
    text = write(make_view(40, slot=30))
    assert any(line.startswith("  30 ") for line in text)
    assert any(line.endswith("(23 more)") for line in text)
    assert text[-1].startswith("r reload")


def test_a_blocked_worker_stands_out_with_its_adopter_and_its_request() -> None:
    slots = [make_slot(0, adopted_by=1), make_slot(1)]
    worker = make_worker(
        0, is_late=True, silent_s=2.6, longest="GET /report", longest_s=2.5
    )
    status = make_status(slots, [worker, make_worker(1)])
    line = draw(View(status, slot=1), 140, 24)[5]
    assert " late " in line.text
    assert " 2? " in line.text
    assert line.text.endswith("adopted by slot 1: GET /report for 2.5 s")
    assert line.style == "bold red"


def make_busy_view(count: int = 1) -> View:
    tasks = [
        make_task("app.listen", is_running=True, runs=1),
        make_task("app.clean", schedule="every 900 s", next_in_s=60.0),
    ]
    status = make_status(
        [make_slot(at) for at in range(count)],
        [make_worker(at) for at in range(count)],
        tasks=tasks,
        task_slot=0,
        broadcasts=BroadcastAnswer(messages=12, delivered=36, dropped=1),
    )
    return View(status, Rates(broadcasts=2.0))


def test_tasks_that_run_once_and_broadcasts_stand_below_the_table() -> None:
    assert write(make_busy_view())[7:-2] == [
        "",
        "tasks that run once, in slot 0:",
        "  app.listen: runs now",
        "  app.clean: every 900 s, next in 1 min",
        "",
        "broadcasts: 12 sent (2.0/s), 36 delivered, 1 dropped",
        "",
    ]


@pytest.mark.parametrize("count", [1, 3, 8, 30])
@pytest.mark.parametrize("height", [8, 14, 17, 24])
def test_they_take_no_room_from_the_workers(count: int, height: int) -> None:
    plain = write(make_view(count), height=height)
    busy = write(make_busy_view(count), height=height)
    assert len(busy) <= height
    assert sum("serving" in line for line in busy) == sum(
        "serving" in line for line in plain
    )


def test_a_reload_shows_its_bar() -> None:
    progress = Progress(step="rolling", generation=4, replaced=1, slots=2)
    status = make_status([make_slot(0)], [make_worker(0)], reload=progress)
    assert write(View(status))[3] == (
        "  reload: [##########----------] 1 of 2 slots, generation 4: replacing workers"
    )


def test_a_parked_slot_is_faint() -> None:
    slots = [make_slot(0), make_slot(1, is_parked=True, adopted_by=0)]
    line = draw(View(make_status(slots, [make_worker(0)])), 80, 24)[6]
    assert line.style == "dim"
    assert line.text.rstrip().endswith("adopted by slot 0")


def test_what_is_old_is_faint_and_said_to_be() -> None:
    lines = draw(make_view(is_gone=True, said="the service is gone"), 80, 24)
    assert {line.style for line in lines[:-2]} == {"dim"}
    assert (lines[-2].text, lines[-2].style) == ("the service is gone", "bold red")


def test_before_the_first_look_there_is_not_much() -> None:
    assert write(View()) == ["looking ..."]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("slot", [0, 1, 2]),
        ("requests", [2, 0, 1]),
        ("cpu", [1, 2, 0]),
        ("memory", [0, 2, 1]),
    ],
)
def test_lines_are_sorted_by_what_was_asked(sort: str, order: list[int]) -> None:
    sizes = (3 * MIB, 1 * MIB, 2 * MIB)
    slots = [make_slot(at) for at in range(3)]
    workers = [make_worker(at, own_bytes=sizes[at]) for at in range(3)]
    rates = {
        each.pid or 0: WorkerRates(requests, cpu, 0.005)
        for each, requests, cpu in zip(
            workers, (20.0, 10.0, 30.0), (0.1, 0.9, 0.5), strict=True
        )
    }
    view = View(make_status(slots, workers), Rates(rates, 60.0), sort=sort)
    assert list_slots(view) == order
    assert [int(line.split()[0]) for line in write(view)[5:8]] == order
