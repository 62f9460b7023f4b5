import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.master import listeners
from blazeio_supervisor.master.listeners import Binding, BoundState
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from blazeio_supervisor.sockets.listeners import Listeners
from tests.support.clock import wait_until

FREE = TcpAddress("127.0.0.1", 0)


class BindingHarness:
    """What a Binding calls."""

    def __init__(self) -> None:
        self.listeners = Listeners(1)
        self.bound = 0
        self.errors: list[BindError] = []
        self.went_on: list[str] = []
        self.binding = Binding(
            BoundState(), self.listeners, [self._bound], self.errors.append
        )

    def _bound(self) -> None:
        self.bound += 1

    def need(self, host: str, port: int, name: str = "one") -> None:
        self.binding.need(host, port, lambda: self.went_on.append(name))


@pytest.fixture
def events() -> Iterator[BindingHarness]:
    made = BindingHarness()
    yield made
    made.listeners.shut()


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


async def test_what_the_operator_asked_for_is_opened_once(
    events: BindingHarness,
) -> None:
    events.binding.begin([FREE, FREE])
    await wait_until(lambda: events.bound)
    assert len(events.listeners.groups) == 2
    assert events.bound == 1


async def test_the_address_of_the_app_is_not_needed_then(
    events: BindingHarness,
) -> None:
    events.binding.begin([FREE])
    events.need("192.0.2.1", 1)
    assert not events.went_on  # not before there is a listener
    await wait_until(lambda: events.went_on)
    assert len(events.listeners.groups) == 1
    assert not events.errors


async def test_without_any_the_app_says_it_and_all_who_wait_go_on(
    events: BindingHarness,
) -> None:
    events.need("127.0.0.1", 0, "first")
    events.need("127.0.0.1", 0, "second")
    await wait_until(lambda: events.went_on == ["first", "second"])
    events.need("127.0.0.1", 0, "late")
    assert events.went_on[-1] == "late"
    assert len(events.listeners.groups) == 1


async def test_an_app_that_says_another_address_later_is_told_of_in_the_log(
    events: BindingHarness, caplog: pytest.LogCaptureFixture
) -> None:
    events.need("127.0.0.1", 0)
    await wait_until(lambda: events.went_on)
    events.need("127.0.0.1", 9, "reloaded")
    assert events.went_on[-1] == "reloaded"
    assert "address_kept the app now says http://127.0.0.1:9" in caplog.text


async def test_an_address_that_becomes_free_in_time_is_taken(
    events: BindingHarness, taken: socket.socket
) -> None:
    events.need("127.0.0.1", taken.getsockname()[1])
    taken.close()
    await wait_until(lambda: events.went_on)
    assert not events.errors


async def test_an_address_that_stays_taken_is_given_up(
    events: BindingHarness, taken: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RETRY_FOR_S", 0.1)
    events.need("127.0.0.1", taken.getsockname()[1])
    await wait_until(lambda: events.errors)
    assert "is in use by pid" in str(events.errors[0])
    assert not events.went_on
    assert not events.bound


async def test_a_living_stranger_at_a_path_is_asked_once(
    events: BindingHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RETRY_FOR_S", 0.4)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(path)
        stranger.listen(64)
        stranger.setblocking(False)
        events.binding.begin([UnixAddress(path)])
        await wait_until(lambda: events.errors)
        connections = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                stranger.accept()[0].close()
                connections += 1
    assert connections == 1
    assert f"is in use by pid {os.getpid()} " in str(events.errors[0])


async def test_a_path_that_is_given_up_in_time_is_taken(
    events: BindingHarness, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as predecessor:
        predecessor.bind(path)
        predecessor.listen()
        events.binding.begin([UnixAddress(path)])
        await asyncio.sleep(0)
        os.unlink(path)
    await wait_until(lambda: events.bound == 1)
    assert not events.errors


async def test_an_address_that_cannot_be_is_not_tried_again(
    events: BindingHarness,
) -> None:
    events.binding.begin([TcpAddress("192.0.2.1", 80)])
    await wait_until(lambda: events.errors, 0.5)


async def test_waiting_for_an_address_can_be_ended(
    events: BindingHarness, taken: socket.socket
) -> None:
    events.binding.begin([TcpAddress("127.0.0.1", taken.getsockname()[1])])
    events.binding.cancel()
    await wait_until(lambda: True)
    assert not events.bound
    assert not events.errors


async def test_after_an_upgrade_everything_is_open(events: BindingHarness) -> None:
    own = TcpAddress("127.0.0.1", 1)
    events.binding._state = BoundState(own, is_open=True)
    events.need(own.host, own.port)
    assert events.went_on == ["one"]
    assert not events.listeners.is_bound
