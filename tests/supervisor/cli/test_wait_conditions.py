import asyncio

import pytest

from blazeio_supervisor.cli.client import ControlClient
from blazeio_supervisor.cli.verbs import Extent, wait_for
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
)
from tests.supervisor.cli.small_servers import UID
from tests.supervisor.cli.verb_harness import VerbHarness


async def wait(verb_harness: VerbHarness, *extents: Extent) -> int:
    """Wait while these are measured, one at each look; count the looks."""
    left = list(extents)

    def measure(_: StatusAnswer) -> Extent:
        return left.pop(0)

    client = ControlClient(verb_harness.place, UID)
    await asyncio.to_thread(wait_for, client, "the deed", measure)
    return len(extents) - len(left)


async def test_it_looks_until_all_is_done(verb_harness: VerbHarness) -> None:
    assert (
        await wait(verb_harness, Extent(0, 2), Extent(1, 2), Extent(2, 2), Extent(0, 2))
        == 3
    )


async def test_what_goes_wrong_is_one_line(verb_harness: VerbHarness) -> None:
    with pytest.raises(SupervisorError) as caught:
        await wait(verb_harness, Extent(0, 2, "slot 1 fails"))
    assert str(caught.value) == "the deed is not done: slot 1 fails"


async def test_a_service_that_ends_meanwhile_has_failed(
    verb_harness: VerbHarness,
) -> None:
    verb_harness.server.close()
    with pytest.raises(SupervisorError, match="ended before the deed") as caught:
        await wait(verb_harness, Extent(0, 1))
    assert caught.value.exit_code == 1
