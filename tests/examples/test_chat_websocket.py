from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.support.clock import scaled
from tests.support.live import LiveServers
from tests.support.tree import REPOSITORY

CHAT = (REPOSITORY / "examples" / "chat_websocket.py").read_text()


@pytest.mark.slow
def test_what_one_says_all_read(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT.replace("8000", "0"))
    server = live_server.start(["python", "chat.py"], cwd=tmp_path)
    url = f"ws://{server.host}:{server.port}/chat"
    with connect(url, proxy=None) as ada, connect(url, proxy=None) as bob:
        ada.send("hello")
        heard = {str(each.recv(timeout=scaled(5))) for each in (ada, bob)}
        assert len(heard) == 1
        assert heard.pop().endswith(": hello")
