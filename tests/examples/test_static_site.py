import shutil
from pathlib import Path

import pytest

from tests.support.live import LiveServer, LiveServers
from tests.support.peer import BlockingPeer
from tests.support.response import Response
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY

SITE = REPOSITORY / "examples" / "static_site"
PUBLIC = SITE / "public"

pytestmark = pytest.mark.slow


@pytest.fixture(
    params=[
        "python app.py",
        pytest.param("blazeio-supervisor app.py --workers 2", marks=pytest.mark.long),
    ]
)
def server(
    request: pytest.FixtureRequest, live_server: LiveServers, tmp_path: Path
) -> LiveServer:
    shutil.copytree(PUBLIC, tmp_path / "public")
    app = (SITE / "app.py").read_text().replace("8000", "0")
    (tmp_path / "app.py").write_text(app)
    return live_server.start(request.param.split(), cwd=tmp_path)


def ask(peer: BlockingPeer, target: str, **fields: str) -> Response:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    peer.send(serialize_request("GET", target, headers=headers))
    return peer.read_response()


@pytest.mark.long
def test_the_site_can_be_walked_through(server: LiveServer) -> None:
    with server.connect() as peer:
        start = ask(peer, "/")
        assert start.body == (PUBLIC / "index.html").read_bytes()
        assert start.field("cache-control") == "max-age=60"
        assert ask(peer, "/guide").field("location") == "/guide/"
        assert ask(peer, "/guide/").body.count(b"Guide") == 2
        style = ask(peer, "/style.css")
        assert style.field("content-type") == "text/css; charset=utf-8"
        etag = style.field("etag") or ""
        assert ask(peer, "/style.css", if_none_match=etag).status == 304
        assert ask(peer, "/style.css", range="bytes=0-3").body == b"body"
        download = ask(peer, "/download")
        assert download.body == style.body
        disposition = download.field("content-disposition") or ""
        assert disposition.startswith("attachment")


def test_nothing_else_is_there(server: LiveServer) -> None:
    with server.connect() as peer:
        for target in ("/none", "/../app.py", "/%2e%2e/app.py", "/guide/none"):
            assert ask(peer, target).status == 404
