"""HTTPS: certificates, keys, and who must show one."""

import re
from collections.abc import Mapping
from typing import Any

import click

from blazeio.errors import ConfigurationError
from blazeio.server.tls import TlsSettings
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.section import Section

_OTHERS = "other_certificates"
BY_FIELD = {
    "certfile": click.Option(
        ["--certfile"],
        metavar="PEM",
        help="Speak HTTPS with this certificate, followed by its intermediates. Then "
        "the options of this section count, and nothing of the App's own tls. Read "
        "before privileges are dropped, and again at each reload.",
    ),
    "keyfile": click.Option(
        ["--keyfile"],
        metavar="PEM",
        help="Its private key.  [default: it is in --certfile]",
    ),
    "keyfile_password_file": click.Option(
        ["--keyfile-password-file"],
        metavar="PATH",
        help="The first line of this file is the password of encrypted keys.",
    ),
    _OTHERS: click.Option(
        ["--other-certificate"],
        multiple=True,
        metavar="PEM[,KEY]",
        help="For clients that ask for another name (SNI), with its key when that is "
        "in another file. May be given several times.",
    ),
    "client_ca": click.Option(
        ["--client-ca"],
        metavar="PEM",
        help="Who issues the certificates of clients; goes with --client-cert.",
    ),
    "client_cert": click.Option(
        ["--client-cert"],
        metavar="MODE",
        help="none, optional (one that is sent must be valid) or required.  "
        "[default: none]",
    ),
    "tls_min": click.Option(
        ["--tls-min"],
        metavar="VERSION",
        help="The least version: 1.2 or 1.3.  [default: 1.2]",
    ),
    "ciphers": click.Option(
        ["--ciphers"],
        metavar="LIST",
        help="OpenSSL's cipher list for TLS 1.2.  [default: Python's]",
    ),
    "handshake_timeout_s": click.Option(
        ["--tls-handshake-timeout"],
        type=float,
        metavar="S",
        help="From the accept to the end of the handshake.  [default: 10]",
    ),
    "shutdown_timeout_s": click.Option(
        ["--tls-shutdown-timeout"],
        type=float,
        metavar="S",
        help="How long the client's end is awaited after ours.  [default: 2]",
    ),
}
"""By the field of ``TlsSettings``."""

TLS = Section("TLS", tuple(BY_FIELD.values()))

_FIELD = re.compile(rf"(?<![\w./-])({'|'.join(BY_FIELD)})(?![\w./-])")


def read_tls(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Check what is there; the files are read later.

    Returns:
        The fields of ``TlsSettings`` that were given; None: no HTTPS.

    Raises:
        UsageError: A value cannot be, or has no effect.
    """
    said = {field: given[_key(option)] for field, option in BY_FIELD.items()}
    said = {field: value for field, value in said.items() if value not in (None, ())}
    if not said:
        return None
    if "certfile" not in said:
        option = BY_FIELD[next(iter(said))].opts[0]
        raise UsageError(f"{option}: has no effect without --certfile")
    if _OTHERS in said:
        said[_OTHERS] = tuple(_read_pair(text) for text in said[_OTHERS])
    try:
        TlsSettings(**said)
    except ConfigurationError as error:
        raise UsageError(_name_options(str(error))) from None
    return said


def _key(option: click.Option) -> str:
    return option.name or ""


def _read_pair(text: str) -> tuple[str, str | None]:
    certfile, _, keyfile = text.partition(",")
    return certfile, keyfile or None


def _name_options(line: str) -> str:
    """Say the options where the library says its settings."""
    line = line.removeprefix("TLS ")
    return _FIELD.sub(lambda match: BY_FIELD[match[0]].opts[0], line)
