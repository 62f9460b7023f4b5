"""The bounds of what servers send are in docs/reference/limits.md, with values."""

import re

import pytest

from blazeio.client import (
    auth,
    download,
    exchange,
    pool,
    proxy,
    redirects,
    response_content,
    states,
)
from blazeio.client import cookies as client_cookies
from blazeio.content import cookies, decoders, event_stream
from tests.support.tree import REPOSITORY

MODULES = (
    auth,
    client_cookies,
    cookies,
    decoders,
    download,
    event_stream,
    exchange,
    pool,
    proxy,
    redirects,
    response_content,
    states,
)
SECTION = (
    (REPOSITORY / "docs" / "reference" / "limits.md")
    .read_text()
    .partition("## Of what servers send to our client")[2]
    .partition("\n## ")[0]
)
ROWS = [
    line.split("|")[1:3]
    for line in SECTION.splitlines()
    if line.startswith("| ") and "`" in line
]


@pytest.mark.parametrize(("bound", "values"), ROWS)
def test_each_has_the_value_that_is_written(bound: str, values: str) -> None:
    names = re.findall(r"`([A-Z_]+)`", bound)
    found = [
        next(getattr(each, name) for each in MODULES if hasattr(each, name))
        for name in names
    ]
    assert [f"{value:g}" if value < 10_000 else str(value) for value in found] == (
        values.strip().split(", ")
    )
