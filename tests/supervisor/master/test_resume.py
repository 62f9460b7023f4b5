import asyncio
import os
from collections.abc import Callable

import pytest

from blazeio_supervisor.fleet.actions import (
    AdoptQueue,
    Spawn,
    Steer,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.components import dump_state
from blazeio_supervisor.master.upgrade.exec_new import rehearse
from blazeio_supervisor.master.upgrade.image import KeptImage, Launch, seal
from blazeio_supervisor.master.upgrade.resume import require_calm
from blazeio_supervisor.version import find_version
from tests.supervisor.master.upgrade_harness import RUN, UpgradeHarness
from tests.support.clock import scaled


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launch", "version"),
    [(Launch.of_new, find_version()), (Launch.of_old, "of unknown version")],
)
async def test_the_installed_and_the_kept_image_could_take_over(
    upgrade_harness: UpgradeHarness,
    image: KeptImage,
    launch: Callable[[KeptImage, int, float, int], Launch],
    version: str,
) -> None:
    octets, fds = dump_state(RUN, image, upgrade_harness.state)
    state_fd = seal("state", octets)
    pipe = os.pipe()
    word = await rehearse(
        Reaper(asyncio.get_running_loop()),
        launch(image, state_fd, scaled(5), pipe[1]),
        pipe,
        [state_fd, *fds],
    )
    os.close(state_fd)
    assert word == version


@pytest.mark.parametrize("action", [Spawn(3, 0, 1), StopWorker(3, StopMode.TERM)])
def test_a_planner_that_would_begin_or_end_somebody_is_refused(action: object) -> None:
    with pytest.raises(
        SystemExit, match=f"it would begin with {type(action).__name__}"
    ):
        require_calm([action])  # type: ignore[list-item]


def test_what_harms_nobody_is_let_through() -> None:
    require_calm([Steer((1, 1)), AdoptQueue(0, 1)])
