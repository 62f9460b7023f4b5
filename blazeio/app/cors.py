"""``Cors``: a middleware that lets pages of other origins read what is answered."""

import re
from collections.abc import Iterable

from blazeio.app.routing.middlewares import CallNext
from blazeio.errors import ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol

_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#\s*,A-Z]+")

MAX_AGE_S = 600
"""How long a browser need not ask again; Chromium takes 7,200 s at most."""

METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE")


class Cors:
    """A middleware for the CORS protocol (WHATWG Fetch, section 3.3).

    ``web.middleware(io.Cors("https://app.example.com"))``: all responses say who may
    read them, also errors and files; preflights are answered here, before any
    route and any ``before_middleware``.

    Args:
        origins: ``https://host`` or ``https://host:port``, one or several; ``*`` for
            all of them.
        methods: Those that a page may use.
        headers: Fields that a page may send; None: those that it asks for.
        expose: Fields of responses that a page may read, beside the simple ones.
        credentials: Whether a page may send cookies; not with ``*``, since every
            page on the web would act as the user then.
        max_age_s: How long a browser may keep the answer to a preflight, seconds.

    Raises:
        ConfigurationError: One of them cannot be.
    """

    def __init__(
        self,
        origins: str | Iterable[str],
        *,
        methods: Iterable[str] = METHODS,
        headers: Iterable[str] | None = None,
        expose: Iterable[str] = (),
        credentials: bool = False,
        max_age_s: int = MAX_AGE_S,
    ) -> None:
        origins = (origins,) if isinstance(origins, str) else tuple(origins)
        self._is_open = origins == ("*",)
        self._origins = frozenset(origins)
        if not self._is_open:
            _check_origins(origins)
        if credentials and (self._is_open or "null" in origins):
            reason = "with credentials, name each origin: https://app.example.com"
            raise ConfigurationError(f"Cors({', '.join(origins)}): {reason}")
        if isinstance(methods, str) or isinstance(headers, str):
            reason = "expected a list of names, found a text"
            raise ConfigurationError(f"Cors(methods=, headers=): {reason}")
        self._methods = ", ".join(dict.fromkeys(each.upper() for each in methods))
        self._headers = None if headers is None else ", ".join(headers)
        self._expose = ", ".join([expose] if isinstance(expose, str) else expose)
        self._credentials = credentials
        self._max_age_s = str(int(max_age_s))

    async def __call__(self, r: BlazeioServerProtocol, call_next: CallNext) -> None:
        """Say who may read the answer; answer preflights."""
        origin = r.headers.get("origin")
        if not self._is_open:
            r.add_header("Vary", "Origin")  # also for who sends none: caches
        is_allowed = origin is not None and (self._is_open or origin in self._origins)
        if is_allowed:
            assert origin is not None  # so mypy knows
            self._allow(r, origin)
        if (
            r.method == "OPTIONS"
            and origin is not None
            and "access-control-request-method" in r.headers
        ):
            self._answer_preflight(r, is_allowed=is_allowed)
            return
        if is_allowed and self._expose:
            _say(r, "Access-Control-Expose-Headers", self._expose)
        await call_next(r)

    def _allow(self, r: BlazeioServerProtocol, origin: str) -> None:
        _say(r, "Access-Control-Allow-Origin", "*" if self._is_open else origin)
        if self._credentials:
            _say(r, "Access-Control-Allow-Credentials", "true")

    def _answer_preflight(self, r: BlazeioServerProtocol, *, is_allowed: bool) -> None:
        if not is_allowed:
            r.reply(b"this origin is not allowed", 403)
            return
        r.add_header("Access-Control-Allow-Methods", self._methods)
        headers = self._headers
        if headers is None:
            headers = r.headers.get("access-control-request-headers", "")
            r.add_header("Vary", "Access-Control-Request-Headers")
        if headers:
            r.add_header("Access-Control-Allow-Headers", headers)
        r.add_header("Access-Control-Max-Age", self._max_age_s)
        r.reply(b"", 204, b"")


def _say(r: BlazeioServerProtocol, name: str, value: str) -> None:
    """Add a field; where a handler passes on that of another server, its own counts.

    Two fields of these names are none to a browser.
    """
    r.add_header(name, value, unless_given=True)


def _check_origins(origins: Iterable[str]) -> None:
    origins = tuple(origins)
    if not origins:
        raise ConfigurationError("Cors(): no origin; '*' allows all of them")
    for each in origins:
        if not isinstance(each, str) or _ORIGIN.fullmatch(each) is None:
            reason = "expected https://host or https://host:port, in small letters"
            raise ConfigurationError(f"Cors({each!r:.80}): {reason}")
