"""Many requests on few connections that the server closes, each in its own way."""

import asyncio
import collections
import re
from pathlib import Path

import pytest

import blazeio as io
from blazeio.errors import RequestError
from tests.client.scripts import OK
from tests.support.clock import wait_until, within
from tests.support.raw_server import RawServer, Script, Visitor
from tests.support.tls_peer import NAME, Certificates

REQUESTS = 150
TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


def closes_after_each(delay_s: float | None = None, farewell: bytes = b"") -> Script:
    """Close after each response, by surprise: it has said that it would not."""

    async def script(visitor: Visitor) -> None:
        if await visitor.read_request() is not None:
            await visitor.send(OK)
            if delay_s is not None:
                await asyncio.sleep(delay_s)
            if farewell:
                await visitor.send(farewell)

    return script


def closes_at_the_second(octets: bytes) -> Script:
    """Answer the first request of a connection, and the second by so much."""

    async def script(visitor: Visitor) -> None:
        if await visitor.read_request() is not None:
            await visitor.send(OK)
            if await visitor.read_request() is not None:
                await visitor.send(octets)

    return script


SCRIPTS = {
    "after each": closes_after_each(),
    "a millisecond later": closes_after_each(0.001),
    "with a 408": closes_after_each(farewell=TOO_LATE),
    "with a 408 a millisecond later": closes_after_each(0.001, TOO_LATE),
    "before each": closes_at_the_second(b""),
    "half way": closes_at_the_second(OK[:-1]),
    "half way in the head": closes_at_the_second(OK[:20]),
}
IN_THE_CONTENT = "half way"
AT_ONCE = ("after each", "with a 408")
"""Where nothing is on its way when the server closes: not even a POST fails."""


async def ask_all(
    server: RawServer, session: io.Session[io.Session[object]], method: str
) -> collections.Counter[str]:
    """How the requests have ended: "ok", or the kind of the error."""
    ended: collections.Counter[str] = collections.Counter()

    async def ask(number: int) -> None:
        body = {"body": b"x"} if method in ("POST", "PUT") else {}
        url = f"{server.url}/{number}"
        try:
            async with session.request(method, url, **body) as resp:  # type: ignore[arg-type]
                ended[
                    await resp.text() if resp.status_code == 200 else resp.reason
                ] += 1
        except RequestError as error:
            ended[type(error).__name__] += 1

    await within(asyncio.gather(*(ask(number) for number in range(REQUESTS))), 30)
    return ended


def assert_all_is_well(
    how: str, method: str, ended: collections.Counter[str], server: RawServer
) -> None:
    """What may be repeated has no error; what may not, is not sent twice."""
    if method == "GET" or how in AT_ONCE or (method == "PUT" and how != IN_THE_CONTENT):
        assert ended == {"ok": REQUESTS}
    elif how == IN_THE_CONTENT:
        # It is done, and its answer is half: whoever has that has an error.
        assert set(ended) == {"ok", "ServerDisconnected"}
        assert sum(ended.values()) == REQUESTS == len(server.requests)
    paths = collections.Counter(each.split(b" ")[1] for each in server.requests)
    assert method != "POST" or max(paths.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "connections"),
    [
        ("GET", 10),
        ("POST", 1),
        *(
            pytest.param(method, connections, marks=pytest.mark.long)
            for method in ("GET", "PUT", "POST")
            for connections in (1, 10, 100)
        ),
    ],
)
@pytest.mark.parametrize("how", SCRIPTS)
async def test_what_may_be_repeated_has_not_one_error(
    method: str, how: str, connections: int
) -> None:
    pool = io.PoolLimits(connections=connections)
    async with RawServer(SCRIPTS[how]) as server, io.Session(pool=pool) as session:
        ended = await ask_all(server, session, method)
        assert_all_is_well(how, method, ended, server)
        await wait_until(lambda: not re.search("busy|opening|waiting", repr(session)))


@pytest.mark.long
@pytest.mark.parametrize("how", SCRIPTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_over_tls_it_is_the_same(tmp_path: Path, method: str, how: str) -> None:
    certificates = Certificates(tmp_path)
    tls = io.ClientTls(ca_file=certificates.ca_file)
    pool = io.PoolLimits(connections=10)
    context = certificates.server_context(NAME)
    async with (
        RawServer(SCRIPTS[how], context, NAME) as server,
        io.Session(pool=pool, tls=tls) as session,
    ):
        ended = await ask_all(server, session, method)
        assert_all_is_well(how, method, ended, server)
