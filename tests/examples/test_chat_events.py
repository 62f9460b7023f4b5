from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.clock import scaled
from tests.support.live import LiveServer, LiveServers
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY

CHAT = (REPOSITORY / "examples" / "chat_events.py").read_text()


@pytest.mark.slow
def test_what_is_said_comes_once_also_to_who_comes_back(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "chat.py").write_text(CHAT.replace("8000", "0"))
    server = live_server.start(["python", "chat.py"], cwd=tmp_path)
    for text in (b"one", b"two"):
        server.exchange(serialize_request("POST", "/say", text))
    first = read_lines(server, "", 7)
    assert [first[2], first[5]] == [b"data: one\n", b"data: two\n"]
    seen = first[1].decode().removeprefix("id: ").strip()
    assert read_lines(server, seen, 4)[1:] == [first[4], b"data: two\n", b"\n"]
    assert read_lines(server, "of-another-room.2", 7) == first


def read_lines(server: LiveServer, last_event_id: str, count: int) -> list[bytes]:
    client = HTTPConnection(server.host, server.port, timeout=scaled(5))
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last_event_id}
    client.request("GET", "/events", headers=headers)
    response = client.getresponse()
    lines = [response.readline() for _ in range(count + 1)]
    response.close()
    client.close()
    return [lines[0], *lines[2:]]
