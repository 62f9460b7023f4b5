import asyncio
import os
from http import HTTPStatus

import msgspec
import pytest

from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import (
    ParkAsked,
    RecycleAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
    StopAsked,
    WorkerExited,
)
from blazeio_supervisor.ipc.control_api import (
    ParkAnswer,
    RecycleAnswer,
    Recycled,
    ReloadAnswer,
    ScaleAnswer,
    StackAnswer,
    StopAnswer,
)
from blazeio_supervisor.ipc.status_api import (
    Progress,
)
from tests.supervisor.cli.control_harness import ControlServerHarness
from tests.supervisor.cli.master_harness import US
from tests.support.clock import wait_until
from tests.support.served import serialize_request


async def test_a_reload_nobody_waits_for_is_answered_at_once(
    control: ControlServerHarness,
) -> None:
    answer = await control.ask("POST", "/reload")
    assert not msgspec.json.decode(answer.body, type=ReloadAnswer).is_over
    assert control.facts == [ReloadAsked(1, by=US)]


async def test_who_waits_for_a_reload_sees_its_steps_and_its_end(
    control: ControlServerHarness,
) -> None:
    asking = asyncio.create_task(control.ask("POST", "/reload", {"wait": True}))
    await wait_until(lambda: control.facts)
    control.driver.tell(*control.facts)
    await asyncio.sleep(0.15)
    control.frames.print("Traceback ...\n", 2)
    control.reloads.end(ReloadEnded((1,), 2, False, "no database"))
    step, ended = (await asking).body.splitlines()
    assert msgspec.json.decode(step, type=Progress).step == "importing"
    answer = msgspec.json.decode(ended, type=ReloadAnswer)
    assert (answer.is_over, answer.is_ok, answer.reason, answer.output) == (
        True,
        False,
        "no database",
        "Traceback ...\n",
    )


async def test_who_leaves_while_waiting_changes_nothing(
    control: ControlServerHarness,
) -> None:
    async with await control.connect() as peer:
        order = msgspec.json.encode({"wait": True})
        await peer.send(serialize_request("POST", "/reload", order))
        await wait_until(lambda: control.facts)
    control.reloads.end(ReloadEnded((1,), 2, True))
    assert (await control.ask("GET", "/service")).status == HTTPStatus.OK


async def test_scale_says_what_was_wanted_before(control: ControlServerHarness) -> None:
    answer = await control.ask("POST", "/scale", {"count": 5})
    assert msgspec.json.decode(answer.body, type=ScaleAnswer) == ScaleAnswer(2, 5)
    assert control.facts == [ScaleAsked(count=5, by=US)]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"count": 0}, "400 0 workers: expected 1 to 256"),
        ({"count": 257}, "400 257 workers: expected 1 to 256"),
        ({"count": "many"}, "400 the order cannot be read: Expected `int"),
        ({"change": -2}, "400 0 workers: expected 1 to 256"),
    ],
)
async def test_a_count_that_cannot_be_is_refused(
    control: ControlServerHarness, order: object, reason: str
) -> None:
    assert (await control.refusal("POST", "/scale", order)).startswith(reason)
    assert control.facts == []


async def test_recycle_says_whose_place_is_taken(control: ControlServerHarness) -> None:
    answer = await control.ask("POST", "/recycle", {"slot": 1})
    recycled = msgspec.json.decode(answer.body, type=RecycleAnswer)
    assert recycled == RecycleAnswer([Recycled(1, 1002)])
    assert control.facts == [RecycleAsked(1, by=US)]


async def test_a_slot_that_waits_for_its_next_try_gets_it_at_once(
    control: ControlServerHarness,
) -> None:
    for _ in range(3):
        owner = control.driver.slot(1).owner
        if owner is not None:
            control.driver.tell(WorkerExited(owner.worker, 1))
    answer = await control.ask("POST", "/recycle", {"slot": 1})
    recycled = msgspec.json.decode(answer.body, type=RecycleAnswer)
    assert recycled.slots == [Recycled(1, None)]


@pytest.mark.parametrize("slot", [-1, 2])
async def test_a_slot_that_is_none_is_refused(
    control: ControlServerHarness, slot: int
) -> None:
    reason = await control.refusal("POST", "/recycle", {"slot": slot})
    assert reason == f"400 slot {slot}: expected 0 to 1"


async def test_a_slot_whose_worker_just_starts_is_not_recycled(
    control: ControlServerHarness,
) -> None:
    control.driver.tell(ScaleAsked(3))
    reason = await control.refusal("POST", "/recycle", {"slot": 2})
    assert reason == "409 slot 2 is just getting a new worker"


async def test_all_are_not_recycled_when_each_just_starts(
    control: ControlServerHarness,
) -> None:
    for slot in (0, 1):
        owner = control.driver.slot(slot).owner
        assert owner is not None
        control.driver.tell(WorkerExited(owner.worker, 1))
    reason = await control.refusal("POST", "/recycle")
    assert reason == "409 every slot is just getting a new worker"


async def test_more_or_less_is_from_what_is_wanted_by_now(
    control: ControlServerHarness,
) -> None:
    answer = await control.ask("POST", "/scale", {"change": 2})
    assert msgspec.json.decode(answer.body, type=ScaleAnswer) == ScaleAnswer(2, 4)
    assert control.facts == [ScaleAsked(count=4, by=US)]


async def test_all_are_recycled_but_who_is_just_new(
    control: ControlServerHarness,
) -> None:
    control.driver.tell(ScaleAsked(3))
    answer = await control.ask("POST", "/recycle")
    recycled = msgspec.json.decode(answer.body, type=RecycleAnswer)
    assert recycled.slots == [Recycled(0, 1001), Recycled(1, 1002)]
    assert control.facts == [RecycleAsked(0, by=US), RecycleAsked(1, by=US)]


async def test_where_nobody_is_nobody_is_asked(control: ControlServerHarness) -> None:
    reason = await control.refusal("POST", "/stack", {"slot": 7})
    assert reason == "409 slot 7: no worker is there"


async def test_a_worker_that_says_nothing_is_named_all_the_same(
    control: ControlServerHarness,
) -> None:
    answer = await control.ask("POST", "/stack", {"slot": 1})
    (stack,) = msgspec.json.decode(answer.body, type=StackAnswer).workers
    assert (stack.slot, stack.pid, stack.text) == (1, 1002, "")


async def test_park_and_resume_are_told(control: ControlServerHarness) -> None:
    answer = await control.ask("POST", "/park")
    assert msgspec.json.decode(answer.body, type=ParkAnswer) == ParkAnswer(True)
    answer = await control.ask("POST", "/resume")
    assert msgspec.json.decode(answer.body, type=ParkAnswer) == ParkAnswer(False)
    assert control.facts == [ParkAsked(by=US), ResumeAsked(by=US)]


async def test_parking_says_what_it_waits_for(control: ControlServerHarness) -> None:
    control.driver.reload()
    answer = await control.ask("POST", "/park")
    assert msgspec.json.decode(answer.body, type=ParkAnswer).waits_for == "reload"


async def test_a_parked_service_has_nobody_to_recycle(
    control: ControlServerHarness,
) -> None:
    control.driver.tell(ParkAsked())
    reason = await control.refusal("POST", "/recycle", {"slot": 0})
    assert reason.startswith("409 the service is parked")


async def test_stop_is_answered_before_it_begins(control: ControlServerHarness) -> None:
    answer = await control.ask("POST", "/stop")
    assert msgspec.json.decode(answer.body, type=StopAnswer).pid == os.getpid()
    assert control.stops == [False]


async def test_a_quick_stop_is_told_as_one(control: ControlServerHarness) -> None:
    await control.ask("POST", "/stop", {"is_quick": True})
    assert control.stops == [True]


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("/reload", {}),
        ("/scale", {"count": 1}),
        ("/recycle", {"slot": 0}),
        ("/park", {}),
        ("/resume", {}),
    ],
)
async def test_a_service_that_stops_takes_no_order(
    control: ControlServerHarness, path: str, order: object
) -> None:
    control.driver.tell(StopAsked())
    assert await control.refusal("POST", path, order) == "409 the service is stopping"
