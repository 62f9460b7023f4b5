import asyncio

import pytest

from blazeio_supervisor.cli.client import ControlClient
from blazeio_supervisor.cli.top import DOWN, GONE, UP, TopSession
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.fleet.facts import (
    ParkAsked,
    RecycleAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
)
from tests.supervisor.cli.control_harness import ControlServerHarness
from tests.supervisor.cli.master_harness import US
from tests.supervisor.cli.small_servers import UID


class TopSessionHarness:
    """A session, without a terminal."""

    def __init__(self, control: ControlServerHarness) -> None:
        self.session = TopSession(ControlClient(control.place, UID), 1.0)

    async def look(self) -> str:
        await asyncio.to_thread(self.session.look)
        return self.text

    async def press(self, *keys: str) -> str:
        for key in keys:
            await asyncio.to_thread(self.session.press, key)
        return self.text

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.session.draw(100, 24))


@pytest.fixture
async def show(control: ControlServerHarness) -> TopSessionHarness:
    made = TopSessionHarness(control)
    await made.look()
    return made


async def test_it_shows_the_service(show: TopSessionHarness) -> None:
    assert "app:web: master pid" in show.text
    assert "2 serve" in show.text


@pytest.mark.parametrize(
    ("key", "fact"),
    [
        ("r", ReloadAsked(1, by=US)),
        ("+", ScaleAsked(count=3, by=US)),
        ("=", ScaleAsked(count=3, by=US)),
        ("-", ScaleAsked(count=1, by=US)),
        ("c", RecycleAsked(0, by=US)),
        ("p", ParkAsked(by=US)),
        ("w", ResumeAsked(by=US)),
    ],
)
async def test_an_order_is_given_once_it_is_confirmed(
    control: ControlServerHarness, show: TopSessionHarness, key: str, fact: object
) -> None:
    assert "? y: yes, any other key: no" in await show.press(key)
    assert control.facts == []
    await show.press("y")
    assert control.facts == [fact]


async def test_an_order_that_is_not_confirmed_is_none(
    control: ControlServerHarness, show: TopSessionHarness
) -> None:
    assert "? y: yes" not in await show.press("r", "n")
    assert control.facts == []


async def test_the_keys_are_for_the_chosen_slot(
    control: ControlServerHarness, show: TopSessionHarness
) -> None:
    await show.press(DOWN, DOWN, DOWN, UP, DOWN, "c", "y")
    assert control.facts == [RecycleAsked(1, by=US)]


async def test_a_refusal_is_said(
    show: TopSessionHarness, control: ControlServerHarness
) -> None:
    control.driver.tell(ScaleAsked(1))
    assert "0 workers: expected 1 to 256" in await show.press("-", "y")


async def test_a_stack_covers_the_table_until_a_key(show: TopSessionHarness) -> None:
    text = await show.press("s")
    assert "== slot 0, pid 1001" in text
    assert "2 serve" not in text
    assert "== slot 0" not in await show.press(DOWN, DOWN)
    assert "== slot 0" in await show.press(UP)
    assert "2 serve" in await show.press("q")


async def test_a_service_that_goes_away_is_said_to(
    control: ControlServerHarness, show: TopSessionHarness
) -> None:
    control.server.close()
    text = await show.look()
    assert GONE in text
    assert "2 serve" in text


async def test_a_fault_is_said_until_the_next_good_look(
    control: ControlServerHarness,
    show: TopSessionHarness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise SupervisorError("too late")

    with monkeypatch.context() as patch:
        patch.setattr(ControlClient, "ask", refuse)
        assert "too late" in await show.look()
    assert "too late" not in await show.look()


@pytest.mark.parametrize("key", ["q", "Q", "escape"])
async def test_it_ends_by_a_key(show: TopSessionHarness, key: str) -> None:
    await show.press(key)
    assert show.session._is_over
