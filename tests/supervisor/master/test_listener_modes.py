import os

import pytest

from blazeio_supervisor.master.listeners import QUIET_LOOKS, ListenerModes
from tests.supervisor.master.workers_harness import WorkersHarness


async def test_one_that_was_made_to_block_does_so_no_more_and_that_is_told(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    modes = ListenerModes(harness.listeners)
    modes.look(0.0)
    assert not caplog.text
    fd = harness.listeners.own_of(1)[0].sock.fileno()
    for _ in range(3):
        os.set_blocking(fd, True)
        modes.look(0.0)
        assert not os.get_blocking(fd)
    assert caplog.text.count("event=listener_changed slot=1: a process of") == 1
    for _ in range(QUIET_LOOKS):
        modes.look(0.0)
    os.set_blocking(fd, True)
    modes.look(0.0)
    assert caplog.text.count("event=listener_changed") == 2
