"""Cookies of requests and responses: RFC 6265, with its successor's prefixes.

A browser silently drops a cookie that is too large, a ``__Host-`` cookie with a domain,
or ``SameSite=None`` without ``Secure``. Here they are errors, which the developer sees.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from blazeio.content.dates import serialize_http_date
from blazeio.errors import LocalProtocolError

SameSite = Literal["Strict", "Lax", "None"]

# token, RFC 9110 section 5.6.2
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# cookie-value = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE ), RFC 6265 section 4.1.1
_OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_VALUE = re.compile(rf'{_OCTETS}|"{_OCTETS}"')
# path-value = <any CHAR except CTLs or ";">; another beginning is ignored
_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")
_DOMAIN = re.compile(
    r"\.?(?:[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?\.)*"
    r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
)
# Browsers drop a larger pair (RFC 6265bis section 5.7 step 7).
LONGEST_PAIR_BYTES = 4096


def find_cookie(field: str, name: str) -> str | None:
    """Find a cookie in the value of a Cookie field.

    Pairs without a "=" are no cookies. Quotes are a part of the value, as in
    ``serialize_set_cookie``.

    Returns:
        The first value; None when there is none of that name.
    """
    for pair in field.split(";"):
        known, equals, value = pair.partition("=")
        # RFC 6265 section 5.4: more particular paths come first, so the first of a name
        # is the one that is meant.
        if equals and known.strip(" \t") == name:
            return value.strip(" \t")
    return None


def serialize_cookie(cookies: Mapping[str, str]) -> str:
    """Serialize the value of a Cookie field, RFC 6265 section 4.2.1.

    Raises:
        LocalProtocolError: A name or a value has characters that a cookie cannot have.
    """
    for name, value in cookies.items():
        _check_pair(name, value)
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def serialize_set_cookie(
    name: str,
    value: str,
    *,
    path: str | None = "/",
    max_age: int | None = None,
    expires: datetime | float | None = None,
    domain: str | None = None,
    secure: bool = False,
    http_only: bool = True,
    same_site: SameSite | None = "Lax",
    partitioned: bool = False,
) -> str:
    """Serialize the value of one Set-Cookie field.

    Args:
        name: A token. The prefixes ``__Secure-`` and ``__Host-`` restrict the rest.
        value: Printable ASCII without space, comma, semicolon, backslash and inner
            quotes; percent-encode anything else first.
        path: Starts with "/"; None: the browser's default.
        max_age: Seconds to live; 0 deletes the cookie.
        expires: Unix time in seconds, or a datetime with a time zone.
        domain: Also sent to the hosts below this one. None: this host only.
        secure: Over TLS only.
        http_only: Hidden from scripts.
        same_site: "None" needs ``secure``; None: the browser's default.
        partitioned: Separate for each top-level site; needs ``secure``.

    Raises:
        LocalProtocolError: The caller's fault: the cookie cannot be written, or every
            browser would drop it. Nothing was sent.
    """
    _check_pair(name, value)
    _check_scope(path, domain)
    _check_attributes(name, path, domain, secure, same_site, partitioned)
    parts = [f"{name}={value}"]
    if max_age is not None:
        parts.append(f"Max-Age={_checked_max_age(name, max_age)}")
    if expires is not None:
        parts.append(f"Expires={_serialize_expires(name, expires)}")
    if domain is not None:
        parts.append(f"Domain={domain}")
    if path is not None:
        parts.append(f"Path={path}")
    if secure:
        parts.append("Secure")
    if http_only:
        parts.append("HttpOnly")
    if same_site is not None:
        parts.append(f"SameSite={same_site}")
    if partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)


def _check_pair(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        message = f"cookie name {name!r} is not a token"
        raise LocalProtocolError(message)
    if not _VALUE.fullmatch(value):
        message = (
            f"cookie {name!r}: the value {value[:64]!r} holds what a cookie cannot; "
            "percent-encode it with urllib.parse.quote"
        )
        raise LocalProtocolError(message)
    if len(name) + len(value) > LONGEST_PAIR_BYTES:
        message = (
            f"cookie {name!r}: browsers drop more than {LONGEST_PAIR_BYTES} octets"
        )
        raise LocalProtocolError(message)


def _check_scope(path: str | None, domain: str | None) -> None:
    if path is not None and not _PATH.fullmatch(path):
        message = f"cookie path {path!r}: expected '/' and printable ASCII without ';'"
        raise LocalProtocolError(message)
    if domain is not None and not _DOMAIN.fullmatch(domain):
        message = f"cookie domain {domain!r} is not a host name"
        raise LocalProtocolError(message)


def _check_attributes(
    name: str,
    path: str | None,
    domain: str | None,
    secure: bool,
    same_site: str | None,
    partitioned: bool,
) -> None:
    if same_site not in (None, "Strict", "Lax", "None"):
        message = f"cookie {name!r}: same_site={same_site!r} is not Strict, Lax or None"
        raise LocalProtocolError(message)
    # RFC 6265bis section 4.1.3: a prefix is a promise that browsers keep; a cookie that
    # breaks it is never stored, without a word to the server.
    prefix = name.lower()  # browsers compare the prefixes without regard to case
    needs_secure = (
        same_site == "None"
        or partitioned
        or prefix.startswith(("__secure-", "__host-"))
    )
    if needs_secure and not secure:
        message = f"cookie {name!r}: browsers drop it without secure=True"
        raise LocalProtocolError(message)
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        message = f"cookie {name!r}: __Host- demands path='/' and no domain"
        raise LocalProtocolError(message)


def _checked_max_age(name: str, max_age: int) -> int:
    if not isinstance(max_age, int) or max_age < 0:
        message = f"cookie {name!r}: max_age={max_age!r} is not a count of seconds"
        raise LocalProtocolError(message)
    return max_age


def _serialize_expires(name: str, expires: datetime | float) -> str:
    if isinstance(expires, datetime):
        # A naive time would be taken in the zone of the machine, and expire hours off.
        if expires.tzinfo is None:
            message = f"cookie {name!r}: expires={expires!r} does not know its zone"
            raise LocalProtocolError(message)
        expires = expires.timestamp()
    try:
        return serialize_http_date(expires)
    except ValueError as exception:
        message = f"cookie {name!r}: {exception}"
        raise LocalProtocolError(message) from exception
