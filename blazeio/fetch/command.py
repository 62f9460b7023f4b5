"""The command line of ``python -m blazeio``: options in, a request out.

May import: blazeio.client, blazeio.errors, blazeio.fetch.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

from blazeio.client.auth import Auth, DigestAuth
from blazeio.client.settings import ClientTls, Timeouts
from blazeio.errors import BlazeioError
from blazeio.escaping import escape_line
from blazeio.fetch.exit_codes import ExitCode, choose_exit_code
from blazeio.fetch.transfer import Order, fetch

PROGRAM = "python -m blazeio"


def main() -> None:
    """Run the program; every failure is one line."""
    try:
        order = command.main(prog_name=PROGRAM, standalone_mode=False)
        code = ExitCode.OK
        if isinstance(order, Order):
            code = asyncio.run(fetch(order))
    except click.ClickException as error:
        _say(f"{error.format_message()} (see {PROGRAM} --help)")
        code = ExitCode.USAGE
    except BrokenPipeError:
        # Whoever read our output has enough of it. Python would say so once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.NO_FILE
    except (BlazeioError, OSError) as error:
        _say(_told(error))
        code = choose_exit_code(error)
    except (KeyboardInterrupt, click.Abort):
        code = ExitCode.INTERRUPTED
    sys.exit(code)


def _told(error: BlazeioError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _say(line: str) -> None:
    click.echo(escape_line(f"blazeio: {line}"), err=True)


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
@click.option("-u", "--user", metavar="NAME:PASSWORD", help="Who asks.")
@click.option("--digest", is_flag=True, help="Say so by Digest, not by Basic.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save to a file; what is there of it is not fetched again.",
)
@click.option("-i", "--include", is_flag=True, help="Show the head of the response.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--no-redirects", is_flag=True, help="Do not follow redirects.")
@click.option(
    "-x",
    "--proxy",
    metavar="URL",
    help="Go through it; default: as http_proxy, HTTPS_PROXY and NO_PROXY say.",
)
@click.option("--unix-socket", metavar="PATH", help="Connect to it, not to the host.")
@click.option("--cacert", metavar="FILE", help="Who may issue its certificate.")
@click.option("--cert", metavar="FILE", help="A certificate of ours, with its key.")
@click.option("-k", "--insecure", is_flag=True, help="Take any certificate.")
@click.option(
    "-m",
    "--max-time",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="For all of it together.",
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
    """The arguments of a request that are its content."""
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
        # Not what follows its first word: it may be a token.
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
