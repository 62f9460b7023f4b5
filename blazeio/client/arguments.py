"""What a caller gives to a session or a request, checked for its type at once.

A wrong type would else be an error far from its cause, or be taken for nothing:
``auth="name:password"`` must not send a request without credentials. Values are
never shown: they may be secrets.
"""

from collections.abc import Mapping
from os import PathLike
from typing import Any, Final

from blazeio.client.rules.cookie_jar import CookieJar
from blazeio.client.settings import ClientTls, PoolLimits, Timeouts
from blazeio.errors import InvalidArgument
from blazeio.limits import Limits

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


def check_arguments(**given: Any) -> None:
    """Refuse each that is of a wrong type; see ``check_argument``."""
    for name, value in given.items():
        check_argument(name, value)


def check_cookies(cookies: Any) -> None:
    """Refuse what are no names and values of cookies.

    Raises:
        InvalidArgument: The caller's fault.
    """
    check_argument("cookies", cookies)
    for name, value in cookies.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            kind = type(value if isinstance(name, str) else name).__name__
            message = f"cookies: expected names and values, each a str, not {kind}"
            raise InvalidArgument(message)
