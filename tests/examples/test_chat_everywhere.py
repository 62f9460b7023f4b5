"""examples/chat_everywhere.py: each worker hears what is said to another."""

from pathlib import Path

import pytest

from tests.process.service import start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY

PROGRAM = (REPOSITORY / "examples" / "chat_everywhere.py").read_text()
LISTENERS = 6


@pytest.mark.slow
def test_who_listens_hears_all_whichever_worker_was_told(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=PROGRAM.replace("8000", "0"))
    peers = [service.server.connect() for _ in range(LISTENERS)]
    heard = [b""] * LISTENERS

    def hear(text: bytes) -> bool:
        for number, peer in enumerate(peers):
            heard[number] += read_some(peer)
        return all(text in each for each in heard)

    for peer in peers:
        peer.send(serialize_request("GET", "/events"))
    block_until(lambda: hear(b"welcome"))
    for text in (b"one", b"two", b"three"):
        service.server.exchange(serialize_request("POST", "/say", text))
        block_until(lambda text=text: hear(b"data: " + text))  # type: ignore[misc]
    for peer in peers:
        peer.close()


def read_some(peer: BlockingPeer) -> bytes:
    peer._sock.setblocking(False)
    try:
        return peer._sock.recv(65536)
    except BlockingIOError:
        return b""
