"""What a caller gives to a session or a request, checked for its type at once.

A wrong type would else be an error far from its cause, or be taken for nothing:
``auth="name:password"`` must not send a request without credentials. Values are
never shown: they may be secrets.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Final, NoReturn, TypedDict

from blazeio.client.auth import Auth
from blazeio.client.cookies import CookieJar
from blazeio.client.pool import MOST_RETRIES
from blazeio.client.request_body import Body, Files
from blazeio.client.request_head import join_cookies
from blazeio.client.settings import ClientTls, PoolLimits, Timeouts
from blazeio.content.forms import FormInput
from blazeio.errors import FieldInput, InvalidArgument
from blazeio.limits import Limits
from blazeio.wire.headers import Headers
from blazeio.wire.serializer import FieldBlock

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
"""What users of other clients write, and what it is here."""


def refuse_unknown(names: Iterable[str]) -> NoReturn:
    """Refuse arguments that there are not; say what is meant, where that is known.

    Raises:
        InvalidArgument: The caller's fault.
    """
    name = next(iter(names))
    hint = f": use {_MEANT[name]}" if name in _MEANT else ""
    raise InvalidArgument(f"unexpected argument {name!r}{hint}")


def check_argument(name: str, value: Any) -> None:
    """Refuse a value of a wrong type; None is none, but for what is needed.

    Args:
        name: Of the argument; one of those above.
        value: It.

    Raises:
        InvalidArgument: The caller's fault.
    """
    kinds, expected = _KINDS[name]
    if isinstance(value, kinds) or (value is None and name not in _NEEDED):
        return
    message = f"{name}: expected {expected}, not {type(value).__name__}"
    raise InvalidArgument(message)


def check_arguments(unknown: Iterable[str] = (), /, **given: Any) -> None:
    """Refuse each that is of a wrong type; see ``check_argument``.

    Args:
        unknown: Names of arguments that there are not.
        given: By name.
    """
    if unknown:
        refuse_unknown(unknown)
    for name, value in given.items():
        check_argument(name, value)
    if "\0" in str(given.get("unix") or "")[1:]:  # the kernel would not read on
        raise InvalidArgument("unix: the path of a socket cannot hold a NUL")


def check_retries(retries: Any) -> int:
    """Return how often a request is repeated.

    Raises:
        InvalidArgument: The caller's fault: it is neither 0 nor 1.
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
    """Return the fields of a request, and the cookies that are sent besides.

    None are, where there is a field ``Cookie``: they are in it then.

    Raises:
        LocalProtocolError: The caller's fault: they cannot be cookies.
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


# What may be given by name, for type checkers and editors.
#
# ``Session`` says what each one means, and its signature what it is by default.


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
    """Of a request of a pool; None: as the session has it."""

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


class PoolOptions(_PoolFurther, total=False):
    """Of a session without a URL."""

    headers: FieldInput | Headers | None


class SingleOptions(PoolOptions, _OneRequest, total=False):
    """Of a session with a URL: both, since it is its only request."""


class SingleFurther(_PoolFurther, _OneRequest, total=False):
    """The same without ``headers``, which may be given by position."""
