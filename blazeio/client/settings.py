"""The settings of a session and the arguments of a request, checked at once.

``Timeouts`` and ``ClientTls`` are frozen values; they check themselves when they are
made. All other arguments are checked by type when they are passed. A wrong type would
otherwise be an error far from its cause, or have no effect: ``auth="name:password"``
must not send a request without credentials. An error never shows the value, which may
be a secret.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import inf
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypedDict

from blazeio.client.auth import Auth
from blazeio.client.content import Body, Files
from blazeio.client.cookies import CookieJar
from blazeio.client.pool import MOST_RETRIES, PoolLimits
from blazeio.client.request import join_cookies
from blazeio.client.url import read_host
from blazeio.content.forms import FormInput
from blazeio.errors import ConfigurationError, FieldInput, InvalidArgument
from blazeio.limits import Limits
from blazeio.wire.headers import FieldBlock, Headers

if TYPE_CHECKING:
    from blazeio.client.attempts import RequestTracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a client waits for each step of a request; seconds. None: no bound.

    Each timeout ends the request with an error of its own. The time that the caller
    spends between two reads counts for ``total_s`` only.

    Attributes:
        pool_s: For a connection of the pool to become free; PoolTimeout.
        connect_s: For a new connection: name, TCP and TLS; ConnectTimeout.
        write_s: For the server to read more of the request; WriteTimeout.
        continue_s: For the 100 that ``expect_continue`` asks for; then the
            content is sent without it (RFC 9110 section 10.1.1).
        head_s: From the whole request to the head of the response; HeadTimeout.
        read_s: For the next octet of the content; ReadTimeout.
        total_s: From the call to the last octet, or to the 101 of an upgrade;
            TotalTimeout.

    Raises:
        ConfigurationError: A timeout is not more than 0.
    """

    pool_s: float | None = None
    connect_s: float | None = 10.0
    write_s: float | None = 60.0
    continue_s: float = 1.0
    head_s: float | None = 60.0
    read_s: float | None = 60.0
    total_s: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.name != "continue_s":
                continue
            if not isinstance(value, int | float) or not 0 < value < inf:
                message = f"timeout {each.name}={value!r}: expected more than 0"
                raise ConfigurationError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """The TLS settings of a session. Files are PEM.

    Attributes:
        ca_file: The authorities that may issue the server's certificate; None: those
            that the system trusts.
        certfile: The client's own certificate, for servers that ask for one.
        keyfile: Its private key; None: it is in ``certfile``.
        keyfile_password: The password of the key, where it is encrypted.
        server_name: The name that is sent (SNI) and verified; None: that of the URL.
        is_verified: False: any certificate is accepted, so that whoever is between
            client and server can read and change everything; for tests.
        tls_min: The lowest version of TLS, "1.2" or "1.3".

    Raises:
        ConfigurationError: A setting has no effect without another one, or is not
            possible. The files are read when the first connection is made.
    """

    ca_file: str | Path | None = None
    certfile: str | Path | None = None
    keyfile: str | Path | None = None
    keyfile_password: str | None = field(default=None, repr=False)
    server_name: str | None = None
    is_verified: bool = True
    tls_min: Literal["1.2", "1.3"] = "1.2"

    def __post_init__(self) -> None:
        if self.keyfile is not None and self.certfile is None:
            message = "has no effect without certfile"
            raise ConfigurationError(f"TLS keyfile {self.keyfile}: {message}")
        if self.ca_file is not None and not self.is_verified:
            message = "has no effect where nothing is verified"
            raise ConfigurationError(f"TLS ca_file {self.ca_file}: {message}")
        if self.server_name is not None:
            try:
                read_host(self.server_name)
            except ValueError as error:
                raise ConfigurationError(f"TLS server_name: {error}") from None
        if self.tls_min not in ("1.2", "1.3"):
            message = f"TLS tls_min {self.tls_min!r}: expected 1.2, 1.3"
            raise ConfigurationError(message)


# Checks of arguments


_KINDS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "timeouts": ((Timeouts,), "io.Timeouts, as io.Timeouts(total_s=5)"),
    "limits": ((Limits,), "io.Limits"),
    "pool": ((PoolLimits,), "io.PoolLimits, as io.PoolLimits(connections=5)"),
    "tls": ((ClientTls,), "io.ClientTls, as io.ClientTls(ca_file=...)"),
    "cookie_jar": ((CookieJar,), "io.CookieJar()"),
    "cookies": ((Mapping,), "a dict of names and values"),
    "proxy": ((str,), "a str, as http://host:3128"),
    "base_url": ((str,), "a str, as https://host/path/"),
    "unix": ((str, PathLike), "the path of a socket"),
    "max_redirects": ((int,), "a number"),
    "upgrade": ((str,), "the name of a protocol"),
    "method": ((str,), "a str"),
}
_NEEDED: Final = frozenset(("method",))


_TLS: Final = "tls=io.ClientTls(ca_file=..., certfile=..., is_verified=...)"
_MEANT: Final = {
    "allow_redirects": "follow_redirects=True",
    "cert": _TLS,
    "connector": "pool=io.PoolLimits(...) or unix=",
    "content": "body=",
    "data": "body= for octets, text or a file, form= for names and values",
    "proxies": "proxy=, or trust_env=True",
    "query": "params=",
    "retry": "retries=0 or retries=1",
    "ssl": _TLS,
    "stream": "nothing: every response can be streamed, by resp.pull()",
    "timeout": "timeouts=io.Timeouts(total_s=...)",
    "url": "it as the first argument",
    "verify": _TLS,
}
"""Arguments of other clients (requests, aiohttp, httpx), and their names here."""


def refuse_unknown(names: Iterable[str]) -> NoReturn:
    """Refuse arguments that do not exist; name the right one, where it is known.

    Raises:
        InvalidArgument: The caller's fault.
    """
    name = next(iter(names))
    hint = f": use {_MEANT[name]}" if name in _MEANT else ""
    raise InvalidArgument(f"unexpected argument {name!r}{hint}")


def check_argument(name: str, value: Any) -> None:
    """Refuse a value of a wrong type. None is allowed, unless the argument is needed.

    Args:
        name: The name of the argument; a key of ``_KINDS``.
        value: Its value.

    Raises:
        InvalidArgument: The caller's fault.
    """
    kinds, expected = _KINDS[name]
    if isinstance(value, kinds) or (value is None and name not in _NEEDED):
        return
    message = f"{name}: expected {expected}, not {type(value).__name__}"
    raise InvalidArgument(message)


def check_arguments(unknown: Iterable[str] = (), /, **given: Any) -> None:
    """Refuse each argument that is of a wrong type; see ``check_argument``.

    Args:
        unknown: Names of arguments that do not exist.
        given: The values of arguments, by name.
    """
    if unknown:
        refuse_unknown(unknown)
    for name, value in given.items():
        check_argument(name, value)
    if (given.get("max_redirects") or 0) < 0:
        raise InvalidArgument("max_redirects: expected a number of at least 0")
    if "\0" in str(given.get("unix") or "")[1:]:  # the kernel would take it for the end
        raise InvalidArgument("unix: the path of a socket cannot hold a NUL")


def check_retries(retries: Any) -> int:
    """Return how often a failed request is sent once more.

    Raises:
        InvalidArgument: The caller's fault: the number is neither 0 nor 1.
    """
    if isinstance(retries, int) and 0 <= retries <= MOST_RETRIES:
        return retries
    told = f"{retries}" if isinstance(retries, int) else type(retries).__name__
    message = (
        f"retries: expected 0 or {MOST_RETRIES}, not {told}: a retry is not retried"
    )
    raise InvalidArgument(message)


def settle_cookies(
    block: FieldBlock, cookies: Mapping[str, str] | None
) -> tuple[FieldBlock, Mapping[str, str] | None]:
    """Return the fields of a request, and the cookies that are sent besides them.

    Where there is a field ``Cookie``, the cookies are put into it.

    Raises:
        LocalProtocolError: The caller's fault: they cannot be sent as cookies.
    """
    if cookies is not None:
        _check_cookies(cookies)
    if "cookie" not in block.names:
        return block, cookies
    return join_cookies(block, cookies), None


def _check_cookies(cookies: Any) -> None:
    check_argument("cookies", cookies)
    for name, value in cookies.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            kind = type(value if isinstance(name, str) else name).__name__
            message = f"cookies: expected names and values, each a str, not {kind}"
            raise InvalidArgument(message)


# Arguments by name, for type checkers and editors; ``Session`` documents them


class _Both(TypedDict, total=False):
    headers: FieldInput | Headers | None
    auth: Auth | None
    timeouts: Timeouts | None


class _OneRequest(TypedDict, total=False):
    body: Body | None
    json: Any
    form: FormInput | None
    files: Files | None
    params: FormInput | None
    cookies: Mapping[str, str] | None
    expect_continue: bool
    upgrade: str | None


class RequestOptions(_Both, _OneRequest, total=False):
    """The options of one request of a session; None: the session's own value."""

    compress: bool | None
    allow_trailing_octets: bool | None
    follow_redirects: bool | None
    max_redirects: int | None
    retries: int | None


class _PoolFurther(TypedDict, total=False):
    auth: Auth | None
    timeouts: Timeouts | None
    compress: bool
    allow_trailing_octets: bool
    cookie_jar: CookieJar | None
    follow_redirects: bool
    max_redirects: int
    retries: int
    allow_downgrade: bool
    limits: Limits | None
    pool: PoolLimits | None
    tls: ClientTls | None
    unix: str | PathLike[str] | None
    proxy: str | None
    base_url: str | None
    trust_env: bool
    tracing: "RequestTracer | None"


class PoolOptions(_PoolFurther, total=False):
    """The options of a session without a URL."""

    headers: FieldInput | Headers | None


class SingleOptions(PoolOptions, _OneRequest, total=False):
    """The options of a session with a URL: its own and those of its only request."""


class SingleFurther(_PoolFurther, _OneRequest, total=False):
    """``SingleOptions`` without ``headers``, which may be given by position."""
