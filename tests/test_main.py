"""The program: its output, its one line of error, its exit code."""

import asyncio
import sys
from importlib.metadata import version

import pytest

from tests.support.clock import within
from tests.support.raw_server import RawServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


async def run(*arguments: str) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "blazeio", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await within(process.communicate(), 20)
    return process.returncode, out.decode(), told.decode()


@pytest.mark.slow
async def test_a_url_is_fetched() -> None:
    async with RawServer(OK) as server:
        assert await run(server.url) == (0, "ok\n", "")


@pytest.mark.slow
async def test_the_version_is_that_of_the_distribution() -> None:
    assert await run("--version") == (
        0,
        f"blazeio {version('blazeio-supervisor')}\n",
        "",
    )


@pytest.mark.slow
async def test_a_failure_is_one_line_and_a_code() -> None:
    async with RawServer(b"nonsense\r\n\r\n") as server:
        code, out, told = await run(server.url)
    assert (code, out, told.count("\n")) == (5, "", 1)
    assert told.startswith(f"blazeio: {server.url}: ")
    assert "nonsense" in told


@pytest.mark.slow
async def test_a_wrong_option_is_one_line_and_2() -> None:
    code, _, told = await run("--what", "http://a.example/")
    assert (code, told.count("\n")) == (2, 1)
    assert told.startswith("blazeio: No such option '--what'")
    assert told.endswith("(see python -m blazeio --help)\n")
