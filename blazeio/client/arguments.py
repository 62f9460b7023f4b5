"""What a caller gives to a session or a request, checked for its type at once.

A wrong type would else be an error far from its cause, or be taken for nothing:
``auth="name:password"`` must not send a request without credentials. Values are
never shown: they may be secrets.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Final, NoReturn

from blazeio.client.pool import MOST_RETRIES
from blazeio.client.requests.head import join_cookies
from blazeio.client.rules.cookie_jar import CookieJar
from blazeio.client.settings import ClientTls, PoolLimits, Timeouts
from blazeio.errors import InvalidArgument
from blazeio.limits import Limits
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
