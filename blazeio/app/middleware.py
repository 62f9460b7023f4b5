"""Middlewares that an app can add: ``Cors``; and ``security_headers``."""

import re
from collections.abc import Iterable

from blazeio.app.dispatch import CallNext
from blazeio.errors import (
    ConfigurationError,
)
from blazeio.protocol.request import BlazeioServerProtocol

# Origins are compared as they are. Browsers write them in lower case and without a
# slash at the end (RFC 6454 section 6.2), so another spelling would never match.
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#\s*,A-Z]+")

MAX_AGE_S = 600
"""How long a browser need not ask again; Chromium limits it to 7,200 s."""

METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE")


class Cors:
    """A middleware for the CORS protocol (WHATWG Fetch, section 3.3).

    ``web.middleware(io.Cors("https://app.example.com"))``: all responses say who may
    read them, also errors and files. Preflight requests are answered here, before any
    route and any ``before_middleware``.

    Args:
        origins: ``https://host`` or ``https://host:port``, one or several; ``*`` for
            all of them.
        methods: The methods that a page may use.
        headers: The fields that a page may send; None: those that it asks for.
        expose: The fields of responses that a page may read, beside the simple ones.
        credentials: Whether a page may send cookies; not with ``*``, since then every
            page on the web could act as the user.
        max_age_s: How long a browser may cache the response to a preflight, seconds.

    Raises:
        ConfigurationError: An argument is not possible.
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
        # "null" is the origin of every sandboxed frame and of every local file: with it
        # the cookies would be open to any page, as they would be with ``*``.
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
        """Add the fields of CORS; answer preflight requests."""
        origin = r.headers.get("origin")
        if not self._is_open:
            r.add_header("Vary", "Origin")  # also without an Origin: for caches
        # Open to all: also without an Origin, since the same stored response may be
        # given to a page later (Fetch, "CORS protocol and HTTP caches").
        allowed = "*" if self._is_open else origin
        is_allowed = self._is_open or origin in self._origins
        if is_allowed and allowed is not None:
            self._allow(r, allowed)
        if (
            r.method == "OPTIONS"
            and origin is not None
            # These three are what makes a request a preflight (Fetch, section 3.3). Any
            # other OPTIONS belongs to the routes.
            and "access-control-request-method" in r.headers
        ):
            self._answer_preflight(r, is_allowed=is_allowed)
            return
        if is_allowed and self._expose:
            _add_field(r, "Access-Control-Expose-Headers", self._expose)
        await call_next(r)

    def _allow(self, r: BlazeioServerProtocol, allowed: str) -> None:
        _add_field(r, "Access-Control-Allow-Origin", allowed)
        if self._credentials:
            _add_field(r, "Access-Control-Allow-Credentials", "true")

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


def _add_field(r: BlazeioServerProtocol, name: str, value: str) -> None:
    """Add a field; that of another server's response, passed on by a handler, wins.

    A browser ignores both where there are two fields of such a name.
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


# Security headers: fields by which browsers protect the users of an app


HSTS_S = 365 * 24 * 3600
"""The least that browsers want for their preload lists."""


def security_headers(
    *,
    content_security_policy: str | None = None,
    hsts_s: int | None = None,
    frame_options: str | None = "DENY",
    referrer_policy: str | None = "strict-origin-when-cross-origin",
    opener_policy: str | None = "same-origin",
    permissions_policy: str | None = None,
) -> dict[str, str]:
    """Make fields for ``App(headers=io.security_headers())``.

    X-Content-Type-Options is always among them. A handler's own field wins.

    Args:
        content_security_policy: What a page may load and run, ``default-src 'self'``;
            None: no such field.
        hsts_s: For how long browsers use HTTPS only, seconds; ``HSTS_S`` is a year.
            None: no such field. It cannot be revoked before.
        frame_options: ``DENY`` or ``SAMEORIGIN``: who may show a page in a frame.
        referrer_policy: What other sites learn about where a user comes from.
        opener_policy: Whether pages of other origins keep a reference to our window.
        permissions_policy: Which features pages may use, ``camera=()``.

    Raises:
        ConfigurationError: An argument is not possible.
    """
    if frame_options not in (None, "DENY", "SAMEORIGIN"):
        reason = "expected 'DENY', 'SAMEORIGIN' or None"
        raise ConfigurationError(f"frame_options={frame_options!r:.80}: {reason}")
    if hsts_s is not None and (not isinstance(hsts_s, int) or hsts_s < 0):
        raise ConfigurationError(f"hsts_s={hsts_s!r:.80}: expected seconds")
    fields = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": frame_options,
        "Referrer-Policy": referrer_policy,
        "Cross-Origin-Opener-Policy": opener_policy,
        "Permissions-Policy": permissions_policy,
        "Content-Security-Policy": content_security_policy,
        "Strict-Transport-Security": (
            None if hsts_s is None else f"max-age={hsts_s}; includeSubDomains"
        ),
    }
    return {name: value for name, value in fields.items() if value is not None}
