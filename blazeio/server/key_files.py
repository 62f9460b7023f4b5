"""A certificate and its key from their files; what is wrong with them in one line.

OpenSSL's own errors name neither the file nor what to do, and for a password
it would ask on the terminal; so each file is looked at before OpenSSL is.

May import: blazeio.server.certificate, blazeio.errors.
"""

import os
import ssl
from datetime import UTC, datetime

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.server.certificate import Certificate, read_certificate

log = get_logger("blazeio.server")

Path = str | os.PathLike[str]

_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_PASSWORD_BYTES = 1024  # OpenSSL's most


def mistake(setting: str, value: object, message: str) -> ConfigurationError:
    """The error of a user: which setting, what it is, what to do."""
    return ConfigurationError(f"TLS {setting} {value}: {message}")


def load_pair(
    context: ssl.SSLContext, certfile: Path, keyfile: Path | None, password: str | None
) -> Certificate:
    """Load a certificate and its key into a context.

    Args:
        context: Of a server.
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
        raise mistake("keyfile", keyfile, message)
    if is_encrypted and password is None:
        message = "is encrypted; name a file with its password, keyfile_password_file"
        raise mistake("keyfile", keyfile, message)
    try:
        # A password is always given, or OpenSSL may ask for it on the terminal.
        context.load_cert_chain(certfile, keyfile, password or "")
    except ssl.SSLError as error:
        raise _explain(error, certfile, keyfile, is_encrypted=is_encrypted) from error
    return certificate


def read_password(path: Path | None) -> str | None:
    """The password of the encrypted keys: the first line of a file.

    Raises:
        ConfigurationError: The file cannot be read, or holds none.
    """
    if path is None:
        return None
    password, _, _ = read_text("keyfile_password_file", path).partition("\n")
    password = password.removesuffix("\r")
    if not 0 < len(password.encode()) <= _PASSWORD_BYTES:
        message = f"its first line must be the password, 1 to {_PASSWORD_BYTES} octets"
        raise mistake("keyfile_password_file", path, message)
    return password


def read_text(setting: str, path: Path) -> str:
    """All of a file that a setting names.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise mistake(setting, path, _why_unread(error)) from error


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
        raise mistake("certfile", path, message) from error
    if certificate is None:
        has_key = "PRIVATE KEY-----" in text
        hint = "is it the keyfile?" if has_key else "`openssl x509` makes PEM of others"
        raise mistake("certfile", path, f"holds no PEM certificate; {hint}")
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
        return mistake("keyfile", keyfile, f"{message} the server's own must come")
    if reason.endswith(("too small", "too weak")):
        message = f"OpenSSL refuses it ({reason}); have a stronger one issued"
        return mistake("certfile", certfile, message)
    if not _can_be_parsed(certfile):
        message = f"a certificate in it is damaged ({reason})"
        return mistake("certfile", certfile, message)
    if is_encrypted:
        message = f"the password does not open it ({reason})"
    else:
        message = f"the key in it is damaged ({reason})"
    return mistake("keyfile", keyfile, message)


def _can_be_parsed(certfile: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certfile)
    except ssl.SSLError:
        return False
    return True
