import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.config.environment import parse_manager
from blazeio_supervisor.master import systemd
from blazeio_supervisor.master.systemd import NotifySocket, clean
from tests.support.clock import wait_until
from tests.support.service_manager import ListeningManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ListeningManager]:
    with ListeningManager(str(tmp_path / "notify")) as made:
        yield made


@pytest.fixture
async def notifier(manager: ListeningManager) -> AsyncIterator[NotifySocket]:
    made = NotifySocket(parse_manager(manager.address), asyncio.get_running_loop())
    yield made
    made.close()


def test_a_text_of_several_lines_becomes_one() -> None:
    assert clean("a\nREADY=1\r\n b") == "a READY=1 b"
    assert len(clean("x" * 9999)) == 1000


async def test_one_message_has_all_its_lines(
    manager: ListeningManager, notifier: NotifySocket
) -> None:
    notifier.send("READY=1", "STATUS=grüß Gott")
    notifier.send()
    assert manager.read() == ["READY=1\nSTATUS=grüß Gott"]
    assert notifier.has_manager


async def test_an_abstract_name_is_heard() -> None:
    with ListeningManager(f"@blazeio-test-{os.getpid()}") as manager:
        notifier = NotifySocket(
            parse_manager(manager.address), asyncio.get_running_loop()
        )
        notifier.send("READY=1")
        assert manager.read() == ["READY=1"]
        notifier.close()


async def test_descriptors_go_with_it(
    manager: ListeningManager, notifier: NotifySocket
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        address = sock.getsockname()
        notifier.send("FDSTORE=1", "FDNAME=a", fds=[sock.fileno()])
    assert manager.read() == ["FDSTORE=1\nFDNAME=a"]
    (kept,) = manager.stored["a"]
    with socket.socket(fileno=os.dup(kept)) as stored:
        assert stored.getsockname() == address


async def test_a_full_manager_hears_everything_later_and_in_order(
    manager: ListeningManager, notifier: NotifySocket
) -> None:
    count = 2 * int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 10
    for number in range(count):
        notifier.send(f"STATUS={number}")
    await wait_until(lambda: manager.read() == [] and len(manager.messages) == count)
    assert manager.messages == [f"STATUS={number}" for number in range(count)]


async def test_settled_means_read(
    manager: ListeningManager, notifier: NotifySocket
) -> None:
    notifier.send("STATUS=last words")
    settling = asyncio.create_task(notifier.settle())
    await asyncio.sleep(0)
    assert not settling.done()
    assert manager.read() == ["STATUS=last words"]
    await asyncio.wait_for(settling, 1)


async def test_a_manager_that_hangs_is_not_waited_for(
    manager: ListeningManager, notifier: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "SETTLE_S", 0.01)
    await notifier.settle()


async def test_nobody_is_an_audience_too() -> None:
    notifier = NotifySocket(None, asyncio.get_running_loop())
    notifier.send("READY=1")
    await notifier.settle()
    notifier.close()
    assert not notifier.has_manager


async def test_a_manager_that_is_gone_is_forgotten_and_found_again(
    tmp_path: Path,
) -> None:
    address = str(tmp_path / "notify")
    notifier = NotifySocket(address, asyncio.get_running_loop())
    notifier.send("STATUS=to nobody")
    for text in ("first", "second"):
        with ListeningManager(address) as manager:
            notifier.send("STATUS=may be lost with the old one")
            notifier.send(f"STATUS={text}")
            assert manager.read()[-1] == f"STATUS={text}"
    notifier.close()
