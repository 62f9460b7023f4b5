"""HTTPS: certificates, keys, and who must show one."""

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from blazeio.errors import ConfigurationError
from blazeio.server.tls import TlsSettings
from blazeio_supervisor.options.kinds.kind import Many
from blazeio_supervisor.options.kinds.numbers import Seconds
from blazeio_supervisor.options.kinds.texts import Choice, Parsed, Text
from blazeio_supervisor.options.option import (
    Section,
    SettingError,
    list_options,
    option,
)

CertificatePair = tuple[str, str | None]
_DEFAULTS = {field.name: field.default for field in fields(TlsSettings)}


def read_pair(text: str) -> CertificatePair:
    """Read ``PEM`` or ``PEM,KEY``."""
    certfile, _, keyfile = text.partition(",")
    return certfile, keyfile or None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Tls(Section):
    """What a service that speaks TLS needs; each is of a field of ``TlsSettings``."""

    title = "TLS"

    certfile: str | None = option(
        Text("PEM"),
        "Speak HTTPS with this certificate, followed by its intermediates. Then the "
        "options of this section count, and nothing of the App's own tls. Read before "
        "privileges are dropped, and again at each reload.",
        default=None,
        default_text="the App's own, else plain HTTP",
        of="certfile",
    )
    keyfile: str | None = option(
        Text("PEM"),
        "Its private key.",
        default=None,
        default_text="it is in --certfile",
        of="keyfile",
    )
    keyfile_password_file: str | None = option(
        Text("PATH"),
        "The first line of this file is the password of encrypted keys.",
        default=None,
        default_text="none",
        of="keyfile_password_file",
    )
    other_certificates: tuple[CertificatePair, ...] = option(
        Many(Parsed(read_pair, "PEM[,KEY]", lambda pair: ",".join(filter(None, pair)))),
        "For clients that ask for another name (SNI), with its key when that is in "
        "another file. May be given several times.",
        default=(),
        default_text="none",
        of="other_certificates",
        key="other_certificate",
    )
    ca_certs: str | None = option(
        Text("PEM"),
        "Who issues the certificates of clients; goes with --client-cert.",
        default=None,
        default_text="none",
        of="client_ca",
    )
    client_cert: str | None = option(
        Choice(("none", "optional", "required"), "MODE"),
        "Whether clients are asked for a certificate: none, optional (one that is "
        "sent must be valid) or required.",
        default=None,
        default_text="none",
        of="client_cert",
    )
    tls_min: str | None = option(
        Choice(("1.2", "1.3"), "VERSION"),
        "The least version: 1.2 or 1.3.",
        default=None,
        default_text="1.2",
        of="tls_min",
    )
    ciphers: str | None = option(
        Text("LIST"),
        "OpenSSL's cipher list for TLS 1.2.",
        default=None,
        default_text="Python's",
        of="ciphers",
    )
    tls_handshake_timeout_s: float | None = option(
        Seconds(0.1),
        "From the accept to the end of the handshake.",
        default=None,
        default_text=f"{_DEFAULTS['handshake_timeout_s']:g}",
        of="handshake_timeout_s",
    )
    tls_shutdown_timeout_s: float | None = option(
        Seconds(0.1),
        "How long the client's end is awaited after ours.",
        default=None,
        default_text=f"{_DEFAULTS['shutdown_timeout_s']:g}",
        of="shutdown_timeout_s",
    )

    @cached_property
    def tls(self) -> dict[str, Any] | None:
        """The fields of ``TlsSettings`` that were given; None: the App's own count.

        Raises:
            SettingError: A value cannot be, or has no effect. The files are read later.
        """
        given = {
            each.of: value for each in _OPTIONS if (value := getattr(self, each.field))
        }
        if not given:
            return None
        if not self.certfile:
            raise SettingError(
                _BY_OF[next(iter(given))].field, "has no effect without --certfile"
            )
        try:
            TlsSettings(**given)
        except ConfigurationError as error:
            raise _name_options(str(error)) from None
        return given

    def check(self) -> None:
        """See that all of them go together."""
        _ = self.tls


_OPTIONS = tuple(list_options(Tls))
_BY_OF = {option.of: option for option in _OPTIONS}
_WORDS = re.compile(rf"(?<![\w./-])({'|'.join(_BY_OF)})(?![\w./-])")
_LINE = re.compile(r"TLS (\w+) (.*?): (.*)", re.DOTALL)


def _name_options(line: str) -> SettingError:
    """Say the options where the library says its settings."""
    match = _LINE.fullmatch(line)
    assert match is not None  # so says ``key_files.mistake``
    reason = _WORDS.sub(lambda word: _BY_OF[word[0]].flag, match[3])
    return SettingError(_BY_OF[match[1]].field, reason)
