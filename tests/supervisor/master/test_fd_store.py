import asyncio
from pathlib import Path

import pytest

from blazeio_supervisor.master.systemd import FdStore, SystemdNotifier
from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners
from tests.support.service_manager import ListeningManager


@pytest.mark.parametrize(
    ("room", "kept", "warning"),
    [(8, 2, ""), (1, 0, "event=not_stored 2 listeners will not outlive"), (0, 0, "")],
)
async def test_listeners_are_kept_as_far_as_there_is_room(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    room: int,
    kept: int,
    warning: str,
) -> None:
    listeners = Listeners(2)
    listeners.open(TcpAddress("127.0.0.1", 0))
    with ListeningManager(str(tmp_path / "notify")) as manager:
        telling = SystemdNotifier(manager.address, asyncio.get_running_loop())
        FdStore(telling, listeners, room).keep()
        manager.read()
        stored = sum(len(sockets) for sockets in manager.stored.values())
        telling.notifier.close()
    listeners.shut()
    assert stored == kept
    assert warning in caplog.text if warning else not caplog.records
