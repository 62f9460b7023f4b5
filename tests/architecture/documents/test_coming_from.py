"""Each option of another server is in the page for those who come from it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from blazeio_supervisor.config.command_line import CALLED_HERE
from tests.support.tree import REPOSITORY

SERVERS = ("gunicorn", "uvicorn", "granian", "hypercorn")
PAGES = REPOSITORY / "docs" / "coming-from"
FAMILIES = ("--log-syslog", "--http2-", "--dirty-")
"""Named once with their kin."""
OF_EACH = {"--help", "--version"}
FLAG = re.compile(r"(?<![\w-])--[a-z0-9][a-z0-9_-]*[a-z0-9]")


def read(server: str) -> str:
    return (PAGES / f"{server}.md").read_text()


def list_rows(server: str) -> list[list[str]]:
    lines = [line for line in read(server).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("server", SERVERS)
def test_no_cell_is_empty(server: str) -> None:
    rows = list_rows(server)
    assert len(rows) > 20
    for row in rows:
        assert len(row) == 2
        assert all(row), row


@pytest.mark.parametrize("option", CALLED_HERE)
def test_the_command_line_says_what_the_pages_say(option: str) -> None:
    own = CALLED_HERE[option].removesuffix(" unix:/path")
    rows = [row for server in SERVERS for row in list_rows(server)]
    named = [row for row in rows if option in re.split("[,;] ", row[0])]
    assert named
    assert any(f"`{own}" in row[1] for row in named)


@pytest.mark.long
@pytest.mark.parametrize("server", ["gunicorn", "uvicorn", "hypercorn"])
def test_every_option_of_another_server_is_named(server: str) -> None:
    program = Path(sys.executable).with_name(server)
    if not program.exists():
        pytest.skip(f"{server} is not installed")
    told = subprocess.run([program, "--help"], capture_output=True, text=True)
    named = set(FLAG.findall(read(server)))
    named |= {flag.replace("--no-", "--", 1) for flag in named}
    options = {
        flag.replace("--no-", "--", 1)
        for flag in FLAG.findall(told.stdout)
        if not flag.startswith(FAMILIES)
    }
    assert len(options) > 30
    assert options - OF_EACH - named == set()
