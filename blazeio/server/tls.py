"""TLS of a server: from ``TlsSettings`` to contexts, with their certificates.

Every mistake that can be seen before a client connects is reported here, in one line
that names the setting, the file and what to do; OpenSSL's own errors name neither, and
for a password it would ask on the terminal. So each file is read before OpenSSL reads
it. The contexts are plain values: make them before privileges are dropped and before a
fork, and every child serves with the same keys, those of the session tickets too. To
renew certificates, make them again.

The standard library describes a peer's verified certificate only. The few fields that a
server needs of its own certificate (names, validity) are read here: X.509 (RFC 5280
section 4.1) in DER, where every value is a tag, a length and its content. The file is
the operator's own; what is malformed is a ValueError.
"""

import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Literal

from msgspec import Struct

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.protocol.tls import ServerSideTls, TlsConfig

# Reading certificates


# Base64 holds no "-": so from each beginning only the text up to the next line of
# dashes is searched, however many there are.
_BLOCK = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[^-]*+(?<=\s)-----END CERTIFICATE-----"
)

_SEQUENCE, _OCTET_STRING, _OBJECT_ID = 0x30, 0x04, 0x06
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS, _DNS_NAME = 0xA0, 0xA3, 0x82  # context-specific tags
_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))  # 2.5.29.17


class Certificate(Struct, frozen=True):
    """One certificate.

    Attributes:
        names: Its DNS names, lower case; a first label of "*" stands for any one label.
            The common name is not used (RFC 9525 section 2).
        begins_at: First moment of its validity.
        ends_at: Last moment of its validity.
    """

    names: tuple[str, ...]
    begins_at: datetime
    ends_at: datetime


def read_certificate(pem: str) -> Certificate | None:
    """Read the first certificate in the text of a PEM file.

    Returns:
        None where there is none.

    Raises:
        ValueError: It is malformed.
    """
    block = _BLOCK.search(pem)
    if block is None:
        return None
    try:
        return _read_der(ssl.PEM_cert_to_DER_cert(block.group()))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("it is cut off or damaged") from error


def _read_der(der: bytes) -> Certificate:
    whole = _content(_values(der)[0], _SEQUENCE)
    fields = _values(_content(_values(whole)[0], _SEQUENCE))
    if fields[0][0] == _VERSION:
        del fields[0]
    # serialNumber, signature, issuer, validity, subject, the key, then optional ones.
    begins, ends = _values(_content(fields[3], _SEQUENCE))
    names: tuple[str, ...] = ()
    for tag, content in fields[6:]:
        if tag == _EXTENSIONS:
            names = tuple(_read_names(content))
    return Certificate(names, _read_time(*begins), _read_time(*ends))


def _read_names(extensions: bytes) -> Iterator[str]:
    """Read the subject's alternative names: RFC 5280 section 4.2.1.6."""
    for extension in _values(_content(_values(extensions)[0], _SEQUENCE)):
        parts = _values(_content(extension, _SEQUENCE))
        if parts[0] != (_OBJECT_ID, _SUBJECT_ALT_NAME):
            continue
        (names,) = _values(_content(parts[-1], _OCTET_STRING))
        for tag, name in _values(_content(names, _SEQUENCE)):
            if tag == _DNS_NAME:
                yield name.decode("ascii").lower()


def _read_time(tag: int, content: bytes) -> datetime:
    """Read a time; years of two digits are those from 1950 to 2049."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"a time with the tag {tag:#x}")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _content(value: tuple[int, bytes], tag: int) -> bytes:
    if value[0] != tag:
        raise ValueError(f"a value with the tag {value[0]:#x}, expected {tag:#x}")
    return value[1]


def _values(der: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each value (X.690 section 8.1); tags are one octet."""
    values = []
    start = 0
    while start < len(der):
        tag, length = der[start], der[start + 1]
        start += 2
        if length >= 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[start : start + octets], "big")
            start += octets
        if start + length > len(der):
            raise ValueError("a value is longer than what holds it")
        values.append((tag, der[start : start + length]))
        start += length
    return values


# Loading a certificate and its key


log = get_logger("blazeio.server")

Path = str | os.PathLike[str]

_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_PASSWORD_BYTES = 1024  # OpenSSL's bound


def setting_error(setting: str, value: object, message: str) -> ConfigurationError:
    """Make the error of a setting: which one, its value, what to do."""
    return ConfigurationError(f"TLS {setting} {value}: {message}")


def load_pair(
    context: ssl.SSLContext, certfile: Path, keyfile: Path | None, password: str | None
) -> Certificate:
    """Load a certificate and its key into a context.

    Args:
        context: The context of a server.
        certfile: The certificate, followed by its intermediates.
        keyfile: None: the key is in ``certfile``.
        password: Used where the key is encrypted.

    Raises:
        ConfigurationError: They cannot be used; says which and why.
    """
    certificate = _read_certfile(certfile)
    keyfile = certfile if keyfile is None else keyfile
    key = read_text("keyfile", keyfile)
    is_encrypted = "ENCRYPTED" in key
    if "PRIVATE KEY-----" not in key:
        message = "holds no PEM private key; name the file that does as keyfile"
        raise setting_error("keyfile", keyfile, message)
    if is_encrypted and password is None:
        message = "is encrypted; name a file with its password, keyfile_password_file"
        raise setting_error("keyfile", keyfile, message)
    try:
        # A password is always passed, or OpenSSL may ask for it on the terminal.
        context.load_cert_chain(certfile, keyfile, password or "")
    except ssl.SSLError as error:
        raise _explain(error, certfile, keyfile, is_encrypted=is_encrypted) from error
    return certificate


def read_password(path: Path | None) -> str | None:
    """Return the password of encrypted keys: the first line of a file.

    Raises:
        ConfigurationError: The file cannot be read, or is empty.
    """
    if path is None:
        return None
    password, _, _ = read_text("keyfile_password_file", path).partition("\n")
    password = password.removesuffix("\r")
    if not 0 < len(password.encode()) <= _PASSWORD_BYTES:
        message = f"its first line must be the password, 1 to {_PASSWORD_BYTES} octets"
        raise setting_error("keyfile_password_file", path, message)
    return password


def read_text(setting: str, path: Path) -> str:
    """Return the whole text of a file that a setting names.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise setting_error(setting, path, _why_unread(error)) from error


def _why_unread(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case IsADirectoryError():
            return "is a directory; name the file in it"
        case PermissionError():
            return f"user {os.geteuid()} may not read it"
    return error.strerror or str(error)


def _read_certfile(path: Path) -> Certificate:
    text = read_text("certfile", path)
    try:
        certificate = read_certificate(text)
    except ValueError as error:
        message = f"its first certificate cannot be read: {error}"
        raise setting_error("certfile", path, message) from error
    if certificate is None:
        has_key = "PRIVATE KEY-----" in text
        hint = "is it the keyfile?" if has_key else "`openssl x509` makes PEM of others"
        raise setting_error("certfile", path, f"holds no PEM certificate; {hint}")
    now = datetime.now(UTC)
    if now > certificate.ends_at:
        date = certificate.ends_at.date()
        log.warning("TLS certfile %s: it expired on %s; renew it", path, date)
    elif now < certificate.begins_at:
        date = certificate.begins_at.date()
        log.warning("TLS certfile %s: it is not valid before %s", path, date)
    return certificate


def _explain(
    error: ssl.SSLError, certfile: Path, keyfile: Path, *, is_encrypted: bool
) -> ConfigurationError:
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if error.reason in _MISMATCHES:
        message = f"is not the key of the first certificate in {certfile}, where"
        return setting_error(
            "keyfile", keyfile, f"{message} the server's own must come"
        )
    if reason.endswith(("too small", "too weak")):
        message = f"OpenSSL refuses it ({reason}); have a stronger one issued"
        return setting_error("certfile", certfile, message)
    if not _can_be_parsed(certfile):
        message = f"a certificate in it is damaged ({reason})"
        return setting_error("certfile", certfile, message)
    if is_encrypted:
        message = f"the password does not open it ({reason})"
    else:
        message = f"the key in it is damaged ({reason})"
    return setting_error("keyfile", keyfile, message)


def _can_be_parsed(certfile: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certfile)
    except ssl.SSLError:
        return False
    return True


ClientCert = Literal["none", "optional", "required"]

_VERIFY_MODES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The TLS settings of a server. Files are PEM; spans are seconds.

    Attributes:
        certfile: The server's certificate, followed by its intermediates.
        keyfile: Its private key; None: it is in ``certfile``.
        keyfile_password_file: Its first line is the password of every encrypted key.
        other_certificates: Pairs of a certfile and its keyfile (or None). A client that
            names a host (SNI) gets the first certificate for it (an exact name before a
            wildcard), else that of ``certfile``.
        client_ca: The authorities that may issue the certificates of clients.
        client_cert: Whether clients are asked for a certificate: "none", "optional"
            (asked for; one that is sent must be valid), "required".
        ciphers: OpenSSL's cipher list for TLS 1.2; None: Python's own. Those of TLS 1.3
            are OpenSSL's.
        tls_min: The lowest version of TLS, "1.2" or "1.3".
        handshake_timeout_s: From the accept to the end of the handshake.
        shutdown_timeout_s: How long the client's closure alert is awaited after ours,
            where it may still be sending, so that it receives the last response and no
            reset.

    Raises:
        ConfigurationError: A value is not possible, or has no effect beside another
            one. The files are not read yet.
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
            raise setting_error(
                "client_cert", self.client_cert, "name who issues as client_ca"
            )
        if self.client_cert == "none" and self.client_ca is not None:
            message = "has no effect without client_cert optional or required"
            raise setting_error("client_ca", self.client_ca, message)
        if self.ciphers is not None and self.tls_min == "1.3":
            message = "has no effect with tls_min 1.3, whose ciphers are OpenSSL's"
            raise setting_error("ciphers", self.ciphers, message)
        for name in ("handshake_timeout_s", "shutdown_timeout_s"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < inf:
                raise setting_error(name, value, "expected more than 0")


def make_tls_config(settings: TlsSettings) -> TlsConfig:
    """Make the ``tls`` argument of ``Server.accept_from``.

    Raises:
        ConfigurationError: See ``make_ssl_contexts``.
    """
    context, *others = make_ssl_contexts(settings)
    return TlsConfig(
        context=context,
        handshake_timeout_s=settings.handshake_timeout_s,
        shutdown_timeout_s=settings.shutdown_timeout_s,
        others=tuple(others),
    )


def make_ssl_contexts(settings: TlsSettings) -> list[ssl.SSLContext]:
    """Read the files; make the contexts of a server, the first of which chooses.

    A certificate that is not valid today is a warning: clients may have been told to
    accept it, and a server that does not start helps nobody.

    Raises:
        ConfigurationError: A file is missing, unreadable or not what it should be, a
            key does not match, a password is missing or wrong, the cipher list is
            empty. One line that says what to do.
    """
    password = read_password(settings.keyfile_password_file)
    context = _make_context(settings)
    names = load_pair(context, settings.certfile, settings.keyfile, password).names
    by_name = dict.fromkeys(names, context)
    contexts = [context]
    for certfile, keyfile in settings.other_certificates:
        other = _make_context(settings)
        contexts.append(other)
        names = load_pair(other, certfile, keyfile, password).names
        if not names:
            message = "is for no DNS name, so that no client would get it"
            raise setting_error("certfile", certfile, message)
        for name in names:
            if name in by_name:
                log.warning("TLS certfile %s: %s has one already", certfile, name)
            by_name.setdefault(name, other)
    _choose_by_name(context, by_name)
    return contexts


def find_by_name(
    by_name: dict[str, ssl.SSLContext], server_name: str
) -> ssl.SSLContext | None:
    """Return the context whose certificate is for a name.

    RFC 9525 section 6.3: a wildcard is a whole first label, and stands for exactly one
    label.
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
    """Make a context; all contexts are alike but for the certificate.

    From the context that is chosen by name, OpenSSL takes only what belongs to the
    certificate and to the verification of the client's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = ServerSideTls
    context.minimum_version = _VERSIONS[settings.tls_min]
    context.options |= (
        ssl.OP_NO_RENEGOTIATION
    )  # renegotiation of TLS 1.2 costs the server, and is of no use
    context.set_alpn_protocols(["http/1.1"])
    if settings.ciphers is not None:
        try:
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError as error:
            message = "OpenSSL knows none of them; `openssl ciphers -v` lists all"
            raise setting_error("ciphers", settings.ciphers, message) from error
    if settings.client_ca is not None:
        read_text("client_ca", settings.client_ca)
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            message = "holds no PEM certificate, or a damaged one"
            raise setting_error("client_ca", settings.client_ca, message) from error
    context.verify_mode = _VERIFY_MODES[settings.client_cert]
    return context


def _check_choice(name: str, value: object, choices: list[str]) -> None:
    if value not in choices:
        raise setting_error(name, value, f"expected {', '.join(choices)}")
