import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest
import pytest_asyncio

from blazeio_supervisor.fleet.facts import ReloadAsked
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.components import dump_state
from blazeio_supervisor.master.upgrade import exec_new
from blazeio_supervisor.master.upgrade.exec_new import (
    UpgradeOutcome,
    UpgradeRun,
    Upgrades,
)
from blazeio_supervisor.master.upgrade.image import ImageKeeper
from tests.supervisor.master.upgrade_harness import UpgradeHarness
from tests.support.clock import scaled, wait_until


class UpgradesHarness:
    """Upgrades of the parts on a upgrade_bench."""

    def __init__(self, upgrade_harness: UpgradeHarness) -> None:
        self.harness = upgrade_harness
        self.is_settled = True
        reaper = Reaper(asyncio.get_running_loop())
        self.upgrades = Upgrades(
            upgrade_harness.driver.planner,
            [self],
            partial(dump_state, master=upgrade_harness.state),
            reaper,
            ImageKeeper(reaper, uses_it=False),
            timeout_s=scaled(5),
        )


@pytest_asyncio.fixture
async def upgrades_harness(
    upgrade_harness: UpgradeHarness,
) -> AsyncIterator[UpgradesHarness]:
    made = UpgradesHarness(upgrade_harness)
    yield made
    keeper = made.upgrades.keeper
    if keeper.has_begun:
        await keeper.settled.wait()
    for fd in keeper.image.list_fds() if keeper.image else []:
        os.close(fd)


async def test_without_a_way_back_there_is_no_way_forth(
    upgrades_harness: UpgradesHarness,
) -> None:
    keeper = upgrades_harness.upgrades.keeper
    keeper.cancel()
    keeper.settled.set()  # without an image
    outcome = await upgrades_harness.upgrades.check("a test")
    assert not outcome.is_ok
    assert outcome.reason == "the running program could not be kept at its start"


async def test_who_asks_early_has_the_program_kept_at_once(
    upgrades_harness: UpgradesHarness,
) -> None:
    await upgrades_harness.upgrades.check("a test")
    assert upgrades_harness.upgrades.keeper.image is not None


async def test_what_is_under_way_is_not_left(upgrades_harness: UpgradesHarness) -> None:
    upgrades_harness.upgrades.keeper.begin()
    upgrades_harness.harness.driver.tell(ReloadAsked(1))
    assert (
        await upgrades_harness.upgrades.upgrade("a test")
    ).reason == "a reload is under way"
    assert upgrades_harness.upgrades.last == UpgradeOutcome()


async def test_who_does_not_read_its_orders_is_in_the_way(
    upgrades_harness: UpgradesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_new, "SETTLE_S", 0.05)
    await upgrades_harness.upgrades.keeper.wait()
    upgrades_harness.is_settled = False
    outcome = await upgrades_harness.upgrades.check("a test")
    assert outcome.reason == "a process does not read its orders: try again"


@pytest.mark.long
@pytest.mark.slow
async def test_a_failed_exec_leaves_everything_as_it_was(
    upgrades_harness: UpgradesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrades_harness.upgrades.keeper.begin()
    began = asyncio.create_task(upgrades_harness.upgrades.upgrade("a test"))
    await asyncio.sleep(0)
    assert (
        await upgrades_harness.upgrades.upgrade("b")
    ).reason == "an upgrade is under way"
    outcome = await began
    assert (outcome.number, outcome.is_over, outcome.is_ok) == (1, False, True)
    monkeypatch.setattr(sys, "executable", "/no/python")
    count = len(os.listdir("/proc/self/fd"))
    await wait_until(lambda: upgrades_harness.upgrades.last.is_over)
    last = upgrades_harness.upgrades.last
    assert not last.is_ok
    assert last.reason == "cannot start /no/python: No such file or directory"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
    group = upgrades_harness.harness.listeners.groups[0]
    assert not any(sock.get_inheritable() for sock in group.sockets)
    assert len(os.listdir("/proc/self/fd")) == count
    reason = (await upgrades_harness.upgrades.check("a test")).reason
    assert reason.endswith(
        "the new code cannot take over: cannot start /no/python: "
        "No such file or directory"
    )


async def test_it_goes_on_when_whoever_asked_has_left(
    upgrades_harness: UpgradesHarness,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upgrades_harness.upgrades.keeper.begin()
    monkeypatch.setattr(sys, "executable", "/no/python")
    asked = asyncio.create_task(upgrades_harness.upgrades.upgrade("a test"))
    await asyncio.sleep(0)
    asked.cancel()
    await wait_until(lambda: "event=upgrade_failed" in caplog.text, 20)
    assert "asked for by a test: the new code cannot take over" in caplog.text


def test_before_the_first_upgrade_none_is_under_way() -> None:
    assert UpgradeOutcome() == UpgradeOutcome(number=0, is_over=True, is_ok=False)


def test_a_rehearsal_blocks_no_signal() -> None:
    handover = UpgradeRun(number=1, by="SIGUSR2", began_at=0.5)
    assert handover.signal_mask == []
    assert msgspec.convert(msgspec.to_builtins(handover), UpgradeRun) == handover
