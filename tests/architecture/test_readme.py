"""What the README says is so: its app runs, its commands are there."""

import json
import re
from pathlib import Path

import pytest

from tests.support.live import LiveServers
from tests.support.response import parse_response
from tests.support.tree import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
MAKEFILE = (REPOSITORY / "Makefile").read_text()
(APP,) = re.findall(r"^```python\n(.+?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_example_app_runs(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace("8000", "0"))
    server = live_server.start(["python", "app.py"], cwd=tmp_path)
    answer = parse_response(
        server.exchange(b"GET /api/ip HTTP/1.1\r\nHost: readme\r\n\r\n")
    )
    assert answer is not None
    assert json.loads(answer.body) == {"ip": "127.0.0.1"}
    answer = parse_response(
        server.exchange(
            b"POST /greet HTTP/1.1\r\nHost: readme\r\nContent-Length: 14\r\n\r\n"
            b'{"name":"Ada"}'
        )
    )
    assert answer is not None
    assert answer.text == "Hello, Ada\n"


def test_the_example_app_is_about_twenty_lines() -> None:
    assert len(APP.strip().splitlines()) <= 22


def test_every_make_target_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", README))
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    assert named <= targets
