from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.clock import scaled
from tests.support.live import LiveServers
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
    client = HTTPConnection(server.host, server.port, timeout=scaled(5))
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "1"}
    client.request("GET", "/events", headers=headers)
    response = client.getresponse()
    lines = [response.readline() for _ in range(5)]
    response.close()
    client.close()
    assert b"".join(lines) == b"retry: 500\n\nid: 2\ndata: two\n\n"
