from pathlib import Path

import pytest

from tests.support.live import LiveServers
from tests.support.response import parse_responses
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY

HELLO = (REPOSITORY / "examples" / "hello.py").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["python", "hello.py"],
        ["blazeio-supervisor", "hello:web", "--workers", "8"],
    ],
    ids=["alone", "supervised"],
)
def test_it_greets_in_json_and_in_text(
    live_server: LiveServers, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "hello.py").write_text(HELLO.replace("8000", "0"))
    server = live_server.start(command, cwd=tmp_path)
    as_json, as_text = parse_responses(
        server.exchange(serialize_request("GET", "/"))
        + server.exchange(serialize_request("GET", "/text"))
    )
    assert as_json.body == b'{"hello":"world"}'
    assert as_json.field("content-type") == "application/json"
    assert as_text.text == "Hello, world\n"
