"""TLS of a server: from what its user writes to what its listeners need.

Every mistake that can be seen before a client connects is seen here, as one
line that names the setting, the file and what to do. The contexts are plain
values: build them before privileges are dropped and before a fork, and every
child serves with the same keys, those of the session tickets among them. To
renew certificates, build again.

May import: blazeio.protocol, blazeio.errors.
"""

import ssl
from dataclasses import dataclass
from math import inf
from typing import Literal

from blazeio.loggers import get_logger
from blazeio.protocol.tls import ServerSideTls, TlsTerms
from blazeio.server.key_files import Path, load_pair, mistake, read_password, read_text

log = get_logger("blazeio.server")

ClientCert = Literal["none", "optional", "required"]

_VERIFY_MODES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How a server speaks TLS. Files are PEM; spans are seconds.

    Attributes:
        certfile: The server's certificate, followed by its intermediates.
        keyfile: Its private key; None: it is in ``certfile``.
        keyfile_password_file: Its first line is the password of every key that
            is encrypted.
        other_certificates: Pairs of a certfile and its keyfile (or None). A
            client that asks for a name gets the first certificate for it (an
            exact name before a wildcard), else that of ``certfile``.
        client_ca: Who may issue the certificates of clients.
        client_cert: Whether clients are asked for a certificate: "none",
            "optional" (asked for; one that is sent must be valid), "required".
        ciphers: OpenSSL's cipher list for TLS 1.2; None: Python's own. Those
            of TLS 1.3 are OpenSSL's.
        tls_min: The least version spoken, "1.2" or "1.3".
        handshake_timeout_s: From the accept to the end of the handshake.
        shutdown_timeout_s: How long the client's end is awaited after ours,
            where it may still be sending, so that it sees our last answer and
            no reset.

    Raises:
        ConfigurationError: A value cannot be, or one has no effect beside
            another. The files are not looked at yet.
    """

    certfile: Path
    keyfile: Path | None = None
    keyfile_password_file: Path | None = None
    other_certificates: tuple[tuple[Path, Path | None], ...] = ()
    client_ca: Path | None = None
    client_cert: ClientCert = "none"
    ciphers: str | None = None
    tls_min: Literal["1.2", "1.3"] = "1.2"
    handshake_timeout_s: float = 10.0
    shutdown_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        _check_choice("client_cert", self.client_cert, list(_VERIFY_MODES))
        _check_choice("tls_min", self.tls_min, list(_VERSIONS))
        if self.client_cert != "none" and self.client_ca is None:
            raise mistake(
                "client_cert", self.client_cert, "name who issues as client_ca"
            )
        if self.client_cert == "none" and self.client_ca is not None:
            message = "has no effect without client_cert optional or required"
            raise mistake("client_ca", self.client_ca, message)
        if self.ciphers is not None and self.tls_min == "1.3":
            message = "has no effect with tls_min 1.3, whose ciphers are OpenSSL's"
            raise mistake("ciphers", self.ciphers, message)
        for name in ("handshake_timeout_s", "shutdown_timeout_s"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < inf:
                raise mistake(name, value, "expected more than 0")


def make_tls_terms(settings: TlsSettings) -> TlsTerms:
    """Make what ``Server.accept_from(..., tls=)`` takes.

    Raises:
        ConfigurationError: See ``make_ssl_context``.
    """
    return TlsTerms(
        context=make_ssl_context(settings),
        handshake_timeout_s=settings.handshake_timeout_s,
        shutdown_timeout_s=settings.shutdown_timeout_s,
    )


def make_ssl_context(settings: TlsSettings) -> ssl.SSLContext:
    """Read the files; make the context of a server.

    A certificate that is not valid today is a warning: clients may be told to
    accept it, and a server that would not start helps nobody.

    Raises:
        ConfigurationError: A file is missing, unreadable or not what it should
            be, a key does not match, a password is missing or wrong, the
            cipher list is empty. One line that says what to do.
    """
    password = read_password(settings.keyfile_password_file)
    context = _make_context(settings)
    names = load_pair(context, settings.certfile, settings.keyfile, password).names
    by_name = dict.fromkeys(names, context)
    for certfile, keyfile in settings.other_certificates:
        other = _make_context(settings)
        names = load_pair(other, certfile, keyfile, password).names
        if not names:
            message = "is for no DNS name, so that no client would get it"
            raise mistake("certfile", certfile, message)
        for name in names:
            if name in by_name:
                log.warning("TLS certfile %s: %s has one already", certfile, name)
            by_name.setdefault(name, other)
    _choose_by_name(context, by_name)
    return context


def find_by_name(
    by_name: dict[str, ssl.SSLContext], server_name: str
) -> ssl.SSLContext | None:
    """The context whose certificate is for a name.

    RFC 9525 section 6.3: a wildcard is a whole first label, and stands for
    exactly one.
    """
    exact = by_name.get(server_name)
    if exact is not None:
        return exact
    first, dot, rest = server_name.partition(".")
    return by_name.get(f"*.{rest}") if first and dot else None


def _choose_by_name(
    context: ssl.SSLContext, by_name: dict[str, ssl.SSLContext]
) -> None:
    def choose(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        if isinstance(tls, ServerSideTls):
            tls.server_name = name
        found = find_by_name(by_name, name)
        if found is not None and found is not context:
            tls.context = found

    context.sni_callback = choose


def _make_context(settings: TlsSettings) -> ssl.SSLContext:
    """All of them are alike but for the certificate.

    OpenSSL takes from the one that is chosen by name only what belongs to the
    certificate and to the verification of the client's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = ServerSideTls
    context.minimum_version = _VERSIONS[settings.tls_min]
    context.options |= ssl.OP_NO_RENEGOTIATION  # of TLS 1.2: costs us, serves no one
    context.set_alpn_protocols(["http/1.1"])
    if settings.ciphers is not None:
        try:
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError as error:
            message = "OpenSSL knows none of them; `openssl ciphers -v` lists all"
            raise mistake("ciphers", settings.ciphers, message) from error
    if settings.client_ca is not None:
        read_text("client_ca", settings.client_ca)
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            message = "holds no PEM certificate, or a damaged one"
            raise mistake("client_ca", settings.client_ca, message) from error
    context.verify_mode = _VERIFY_MODES[settings.client_cert]
    return context


def _check_choice(name: str, value: object, choices: list[str]) -> None:
    if value not in choices:
        raise mistake(name, value, f"expected {', '.join(choices)}")
