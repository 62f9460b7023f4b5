"""One request, and where its response goes.

May import: blazeio.client, blazeio.errors, blazeio.fetch.
"""

import codecs
import sys
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from blazeio.client.auth import Auth
from blazeio.client.response import ClientResponse
from blazeio.client.rules.cookie_jar import CookieJar
from blazeio.client.session import Session
from blazeio.client.settings import ClientTls, Timeouts
from blazeio.escaping import escape_line, escape_lines
from blazeio.fetch.exit_codes import ExitCode
from blazeio.fetch.progress import shown_progress


class Order(Struct, frozen=True, kw_only=True):
    """What is to be fetched, and how.

    Attributes:
        url: Absolute.
        method: Of the request.
        headers: Of it.
        content: The arguments of ``Session.request`` that are its content.
        auth: Who asks.
        output: Saved there; None: to standard output.
        shows_head: The head of the response too.
        is_quiet: Without a progress bar.
        follows: Redirects are followed.
        proxy: Goes between; None: as the environment says.
        unix: Path of a socket that is connected to.
        tls: How https is spoken.
        timeouts: How long it is waited for.
    """

    url: str
    method: str
    headers: list[tuple[str, str]]
    content: dict[str, Any]
    auth: Auth | None
    output: Path | None
    shows_head: bool
    is_quiet: bool
    follows: bool
    proxy: str | None
    unix: str | None
    tls: ClientTls
    timeouts: Timeouts


async def fetch(order: Order) -> ExitCode:
    """Do it.

    Raises:
        RequestError: It came to nothing; the kind says why.
        LocalProtocolError: HTTP cannot say this.
        OSError: A file cannot be read or written.
    """
    pool: Session[Session[Any]] = Session(
        auth=order.auth,
        cookie_jar=CookieJar(),
        follow_redirects=order.follows,
        timeouts=order.timeouts,
        tls=order.tls,
        unix=order.unix,
        proxy=order.proxy,
        trust_env=True,
    )
    async with (
        pool as session,
        session.request(
            order.method, order.url, headers=order.headers, **order.content
        ) as resp,
    ):
        if order.shows_head:
            _show_head(resp)
        is_refused = resp.status_code >= 400
        if order.output is None or is_refused:
            await _write_out(resp)
        else:
            with shown_progress(order.output.name, is_quiet=order.is_quiet) as report:
                await resp.save(order.output, progress=report)
        if not is_refused:  # of a saved file the last status may be 416: it is whole
            return ExitCode.OK
        line = f"blazeio: {resp.status_code} {resp.reason}".rstrip()
        click.echo(escape_line(line), err=True)
        return ExitCode.REFUSED


def _show_head(resp: ClientResponse) -> None:
    lines = [f"{resp.status_code} {resp.reason}".rstrip()]
    lines += [f"{name}: {value}" for name, value in resp.headers.pairs]
    if sys.stdout.isatty():
        _write("".join(f"{escape_line(line)}\n" for line in [*lines, ""]).encode())
    else:
        _write("".join(f"{line}\n" for line in [*lines, ""]).encode("latin-1"))


async def _write_out(resp: ClientResponse) -> None:
    """Write the content: as it is, but to a terminal, which might obey it."""
    is_terminal = sys.stdout.isatty()
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    async for octets in resp.decoded():
        if not is_terminal:
            _write(octets)
            continue
        if b"\0" in octets:
            message = "the content is no text: save it by --output FILE"
            raise click.UsageError(message)
        text = decoder.decode(octets).replace("\r\n", "\n")
        _write(escape_lines(text).encode())
    if is_terminal:
        _write(escape_lines(decoder.decode(b"", final=True)).encode())


def _write(octets: bytes) -> None:
    sys.stdout.buffer.write(octets)
    sys.stdout.buffer.flush()
