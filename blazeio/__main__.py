"""``python -m blazeio URL`` fetches it; ``--help`` says what else it can do.

``command`` reads the options into an ``Order``; ``fetch`` carries it out. Every failure
is one line, and an exit code that says why.
"""

import asyncio
import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from blazeio.client.auth import Auth, DigestAuth
from blazeio.client.cookies import CookieJar
from blazeio.client.response import ClientResponse
from blazeio.client.session import Session
from blazeio.client.settings import ClientTls, Timeouts
from blazeio.errors import (
    BlazeioError,
    ConfigurationError,
    ConnectError,
    InvalidUrl,
    LocalProtocolError,
    RequestTimeout,
)
from blazeio.loggers import escape_line, escape_lines

# A progress bar on a terminal
#
# Rich is imported only for it: that takes 0.1 s.


Report = Callable[[int, int | None], None]
"""Called with the octets so far, and how many there will be, if that is known."""


@contextmanager
def shown_progress(name: str, *, is_quiet: bool) -> Iterator[Report | None]:
    """Show a progress bar on standard error until the block ends.

    Args:
        name: The name of the file.
        is_quiet: Show nothing, as where standard error is no terminal.
    """
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape_line(name), total=None)

        def report(done_bytes: int, whole_bytes: int | None) -> None:
            bar.update(task, completed=done_bytes, total=whole_bytes)

        yield report


# Exit codes


class FetchExitCode(IntEnum):
    """The exit codes of ``python -m blazeio``."""

    OK = 0
    REFUSED = 1
    """The server answered 4xx or 5xx; its content was written."""
    USAGE = 2
    """An option or the URL is wrong."""
    NO_CONNECTION = 3
    """No address, no connection, or no trust in the server."""
    TOO_LATE = 4
    """It took too long."""
    BROKEN = 5
    """The response was malformed, or broke off."""
    NO_FILE = 6
    """A file cannot be read or written."""
    INTERRUPTED = 130
    """By SIGINT."""


_KINDS: tuple[tuple[type[Exception], FetchExitCode], ...] = (
    (InvalidUrl, FetchExitCode.USAGE),
    (ConfigurationError, FetchExitCode.USAGE),
    (LocalProtocolError, FetchExitCode.USAGE),
    (RequestTimeout, FetchExitCode.TOO_LATE),
    (ConnectError, FetchExitCode.NO_CONNECTION),
    (BlazeioError, FetchExitCode.BROKEN),
    (OSError, FetchExitCode.NO_FILE),
)


def choose_exit_code(error: Exception) -> FetchExitCode:
    """Return the exit code of a fetch that failed with an error."""
    return next(code for kind, code in _KINDS if isinstance(error, kind))


# One request, and where its response goes


class Order(Struct, frozen=True, kw_only=True):
    """What is fetched, and how.

    Attributes:
        url: Absolute.
        method: The method of the request.
        headers: The fields of the request.
        content: The arguments of ``Session.request`` that are its content.
        auth: The credentials.
        output: Where it is saved; None: standard output.
        shows_head: Write the head of the response too.
        is_quiet: Without a progress bar.
        follows: Follow redirects.
        proxy: The proxy; None: by the environment.
        unix: The path of a socket that is connected to.
        tls: The settings of https.
        timeouts: The timeouts.
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


async def fetch(order: Order) -> FetchExitCode:
    """Carry out an order.

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
        if not is_refused:  # the last status of a saved file may be 416: it is whole
            return FetchExitCode.OK
        line = f"blazeio: {resp.status_code} {resp.reason}".rstrip()
        click.echo(escape_line(line), err=True)
        return FetchExitCode.REFUSED


def _show_head(resp: ClientResponse) -> None:
    lines = [f"{resp.status_code} {resp.reason}".rstrip()]
    lines += [f"{name}: {value}" for name, value in resp.headers.pairs]
    if sys.stdout.isatty():
        _write("".join(f"{escape_line(line)}\n" for line in [*lines, ""]).encode())
    else:
        _write("".join(f"{line}\n" for line in [*lines, ""]).encode("latin-1"))


async def _write_out(resp: ClientResponse) -> None:
    """Write the content; control characters are escaped for a terminal."""
    is_terminal = sys.stdout.isatty()
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    async for octets in resp.decoded():
        if not is_terminal:
            _write(octets)
            continue
        if b"\0" in octets:
            message = "the content is not text: save it by --output FILE"
            raise click.UsageError(message)
        text = decoder.decode(octets).replace("\r\n", "\n")
        _write(escape_lines(text).encode())
    if is_terminal:
        _write(escape_lines(decoder.decode(b"", final=True)).encode())


def _write(octets: bytes) -> None:
    sys.stdout.buffer.write(octets)
    sys.stdout.buffer.flush()


PROGRAM = "python -m blazeio"


def main() -> None:
    """Run the program; every failure is one line."""
    try:
        order = command.main(prog_name=PROGRAM, standalone_mode=False)
        code = FetchExitCode.OK
        if isinstance(order, Order):
            code = asyncio.run(fetch(order))
    except click.ClickException as error:
        _say(f"{error.format_message()} (see {PROGRAM} --help)")
        code = FetchExitCode.USAGE
    except BrokenPipeError:
        # The reader of our output has closed it; Python would report that once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FetchExitCode.NO_FILE
    except (BlazeioError, OSError) as error:
        _say(_told(error))
        code = choose_exit_code(error)
    except (KeyboardInterrupt, click.Abort):
        code = FetchExitCode.INTERRUPTED
    sys.exit(code)


def _told(error: BlazeioError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _say(line: str) -> None:
    click.echo(escape_line(f"blazeio: {line}"), err=True)


def _show_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        from importlib import metadata  # 12 ms

        try:
            version = metadata.version("blazeio-supervisor")
        except metadata.PackageNotFoundError:
            version = "of unknown version"
        click.echo(f"blazeio {version}")
        context.exit()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("url")
@click.option(
    "-X",
    "--request",
    "method",
    metavar="METHOD",
    help="Default: GET; POST where there is content.",
)
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A field of the request; may be repeated.",
)
@click.option(
    "-d",
    "--data",
    metavar="TEXT|@FILE|@-",
    help="The content; @- is standard input.",
)
@click.option("--json", metavar="TEXT|@FILE|@-", help="The same, as JSON.")
@click.option(
    "-F",
    "--form",
    "forms",
    multiple=True,
    metavar="NAME=VALUE|NAME=@FILE",
    help="A field or a file of a form; may be repeated.",
)
@click.option("-u", "--user", metavar="NAME:PASSWORD", help="The credentials.")
@click.option("--digest", is_flag=True, help="Use Digest authentication, not Basic.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save to a file; a partial download is resumed.",
)
@click.option("-i", "--include", is_flag=True, help="Show the response head.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--no-redirects", is_flag=True, help="Do not follow redirects.")
@click.option(
    "-x",
    "--proxy",
    metavar="URL",
    help="Use this proxy; default: as http_proxy, HTTPS_PROXY and NO_PROXY say.",
)
@click.option(
    "--unix-socket", metavar="PATH", help="Connect to this socket, not to the host."
)
@click.option("--cacert", metavar="FILE", help="The certificate authorities to trust.")
@click.option("--cert", metavar="FILE", help="The client certificate, with its key.")
@click.option("-k", "--insecure", is_flag=True, help="Accept any certificate.")
@click.option(
    "-m",
    "--max-time",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="The longest time for the whole request.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def command(url: str, **given: Any) -> Order:
    """Fetch URL, and write what the server answers to standard output.

    \b
    Exit codes:
      0  done
      1  the server answered 4xx or 5xx
      2  an option or the URL is wrong
      3  no connection: no address, nobody there, not to be trusted
      4  it took too long
      5  the response was malformed, or broke off
      6  a file cannot be read or written
    """
    content = _read_content(given)
    headers = [_read_header(each) for each in given["headers"]]
    names = {name.lower() for name, _ in headers}
    if given["json"] is not None and "content-type" not in names:
        headers.append(("Content-Type", "application/json"))
    return Order(
        url=url if "://" in url else f"http://{url}",
        method=given["method"] or ("POST" if content else "GET"),
        headers=headers,
        content=content,
        auth=_read_user(given["user"], is_digest=given["digest"]),
        output=given["output"],
        shows_head=given["include"],
        is_quiet=given["quiet"],
        follows=not given["no_redirects"],
        proxy=given["proxy"],
        unix=given["unix_socket"],
        tls=ClientTls(
            ca_file=given["cacert"],
            certfile=given["cert"],
            is_verified=not given["insecure"],
        ),
        timeouts=Timeouts(total_s=given["max_time"]),
    )


def _read_content(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a request that are its content."""
    named = [
        name for name in ("data", "json", "forms") if given[name] not in (None, ())
    ]
    if len(named) > 1:
        raise click.UsageError(
            "--data, --json and --form: only one of them can be sent"
        )
    for name in ("data", "json"):
        if given[name] is not None:
            return {"body": _read_text(given[name])}
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, Path]] = []
    for each in given["forms"]:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.BadParameter(f"{each!r} is not NAME=VALUE", param_hint="--form")
        if value.startswith("@"):
            files.append((name, Path(value[1:])))
        else:
            fields.append((name, value))
    if not given["forms"]:
        return {}
    return {"form": fields, "files": files} if files else {"form": fields}


def _read_text(text: str) -> bytes:
    if text == "@-":
        return sys.stdin.buffer.read()
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()


def _read_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        # Only its first word: what follows may be a token.
        word = line.partition(" ")[0]
        raise click.BadParameter(f"{word!r} is not NAME: VALUE", param_hint="--header")
    return name, value.strip(" \t")


def _read_user(user: str | None, *, is_digest: bool) -> Auth | None:
    if user is None:
        return None
    name, colon, password = user.partition(":")
    if not colon:
        password = click.prompt("Password", hide_input=True, err=True)
    return DigestAuth(name, password) if is_digest else (name, password)


if __name__ == "__main__":
    main()
