"""One hostile text through every place where blazeio alone writes texts."""

import io
import json
import logging

import pytest

import blazeio.__main__ as fetching
from blazeio.__main__ import Order, command, fetch
from blazeio.app.app import App
from blazeio.errors import ConnectError
from blazeio.files.static_server import render_listing
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.log_format import escape_json, escape_text
from tests.hostile import HOSTILE, assert_harmless
from tests.support.raw_server import RawServer
from tests.support.served import served

R = BlazeioServerProtocol
OCTETS = HOSTILE.replace("\x00", "").encode("utf-8", "ignore")


async def fetch_from(server: RawServer, *arguments: str) -> None:
    order = command.main([server.url, *arguments], standalone_mode=False)
    assert isinstance(order, Order)
    await fetch(order)


async def test_what_a_server_says_reaches_a_terminal_as_text(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    head = b"HTTP/1.1 404 No\x9b31m \xc2\x9bpwned\r\nX: \x9b2J pwned\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(OCTETS)
    async with RawServer(head + length + OCTETS) as server:
        await fetch_from(server, "-i")
    out, told = capsysbinary.readouterr()
    first, second, rest = out.partition(b"\n\n")
    assert_harmless(first)
    assert_harmless(told)
    # Of the content the lines are meant, but nothing that a terminal obeys.
    assert_harmless(rest.replace(b"\n", b" | "))
    assert second
    assert all(b"pwned" in each for each in (first, rest, told))


async def test_a_file_or_a_pipe_gets_the_octets_as_they_are(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OCTETS)
    async with RawServer(head + OCTETS) as server:
        await fetch_from(server)
    assert capsysbinary.readouterr().out == OCTETS


def test_an_error_of_the_program_is_one_line(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectError(HOSTILE)

    monkeypatch.setattr(fetching.command, "main", fail)
    with pytest.raises(SystemExit):
        fetching.main()
    told = capsysbinary.readouterr().err
    assert_harmless(told.removesuffix(b"\n"), lines=False)
    assert b"pwned" in told


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
async def test_the_debug_page(accept: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # reports between processes are UTF-8
    web = App(debug=True)

    @web.add_route
    async def _bug(r: R) -> None:
        raise ValueError(HOSTILE)

    async with served(web) as site:
        answer = await site.ask("GET", "/bug", headers={"Accept": accept})
    if accept == "application/json":
        text = json.loads(answer.body)["error"]
    else:
        text = answer.body.decode()
    assert "pwned" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x9b" not in text


async def test_the_loggers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "blazeio")
    web = App()

    @web.add_route
    async def _bug(r: R) -> None:
        raise ConnectError(HOSTILE)

    async with served(web) as site:
        await site.ask("GET", "/bug")
    (said,) = [each for each in caplog.messages if "ConnectError" in each]
    logging.getLogger("blazeio.app").error("%s %r %d", HOSTILE, HOSTILE, 1)
    assert_harmless(caplog.messages[-1].encode(), lines=False)
    assert_harmless(said.encode(), lines=False)
    assert "pwned" in said


def test_a_traceback_of_the_loggers() -> None:
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logger = get_logger("blazeio.app")
    logger.addHandler(handler)
    try:
        raise ValueError(HOSTILE.replace("\n", " "))
    except ValueError:
        logger.exception("failed")
    finally:
        logger.removeHandler(handler)
    assert_harmless(told.getvalue().encode())
    assert "Traceback (most recent call last):\n" in told.getvalue()
    assert "pwned" in told.getvalue()


def test_the_access_log() -> None:
    for escape in (escape_text, escape_json):
        octets = escape(HOSTILE).encode()
        assert_harmless(octets, lines=False)
        assert octets.isascii()
    assert json.loads(escape_json(HOSTILE)) == HOSTILE


def test_a_listing() -> None:
    page = render_listing(HOSTILE, [HOSTILE.replace("\ud800", "")])
    assert b"pwned" in page
    assert b"\x1b" not in page
    assert "\u202e".encode() not in page
