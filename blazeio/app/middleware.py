"""Middlewares that an app can add: ``Cors``, ``CookieSessions`` and ``Tracing``.

``RequestIdFilter`` has the request in log records.

Libraries that only some apps need come with an extra: itsdangerous, which signs the
cookies of sessions, with ``sessions``; OpenTelemetry with ``otel``.

Tracing makes a span for each request that is served, and one for each that a
``Session`` sends, by the semantic conventions of HTTP. What led to a request, and what
it leads to, is told by the W3C's ``traceparent``. An app without ``Tracing`` pays
nothing.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from blazeio.app.dispatch import CallNext
from blazeio.app.failures import find_status
from blazeio.app.request import find_running
from blazeio.client.url import Url, show_url
from blazeio.content.field_values import SameSite, find_cookie, serialize_set_cookie
from blazeio.errors import (
    ConfigurationError,
    FieldInput,
    LocalProtocolError,
)
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider


# Origins are compared as they are. Browsers write them in lower case and without a
# slash at the end (RFC 6454 section 6.2), so another spelling would never match.
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#\s*,A-Z]+")

PREFLIGHT_AGE_S = 600
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
        max_age_s: int = PREFLIGHT_AGE_S,
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


# Sessions: what an app remembers of a user, in a signed cookie


log = get_logger("blazeio.app")

SESSION_AGE_S = 14 * 24 * 3600
"""How long a session lasts after its last renewal, seconds."""

COOKIE_BYTES = 4096
"""Bound of name and value; browsers silently drop larger cookies (RFC 6265 section
6.1)."""

SECRET_CHARACTERS = 16
"""A shorter secret can be guessed."""


class _Open:
    """The session of one request.

    Attributes:
        values: The present values.
        text: The values as JSON, as they were read.
        told: The JSON when the head was composed; before that as it was read.
        signed_at: When the cookie was written, Unix time; 0: there is none.
    """

    __slots__ = ("signed_at", "text", "told", "values")

    def __init__(self, values: dict[str, Any], text: str, signed_at: float) -> None:
        self.values = values
        self.text = self.told = text
        self.signed_at = signed_at


class _Slot:
    """Holds the session of a request, once it was asked for."""

    __slots__ = ("is_told", "opened")

    def __init__(self) -> None:
        self.opened: _Open | None = None
        self.is_told = False  # the head was sent, with the cookie


class CookieSessions:
    """A middleware, and the sessions of the requests that it is around.

    ::

        sessions = io.CookieSessions(os.environ["SESSION_SECRET"])
        web.middleware(sessions)

        async def login(r):
            sessions.of(r)["user"] = name

    It needs the extra ``sessions``. The values are signed, not secret: whoever has the
    cookie can read them, and cannot change them. Nothing is stored on the server: a
    copied cookie is valid until it is too old. A changed session is sent with the head
    of the response, so it must be changed before that.

    Args:
        secrets: One, or several: the first one signs, and cookies signed by any of them
            are read, so that a new secret can be put before an old one. Each has at
            least 16 random characters: ``secrets.token_urlsafe()``.
        cookie: The name of the cookie.
        max_age_s: How long a session lasts, seconds; one in use is renewed at half of
            it.
        path: Where the browser sends it.
        domain: Also sent to the hosts below this one; None: this host only.
        secure: Sent over HTTPS only; browsers treat http://localhost as such, other
            clients do not.
        same_site: ``Lax``: not sent where another site posts to this one.

    Raises:
        ConfigurationError: A secret is too short, there is none, the cookie cannot be
            written, or itsdangerous is not installed.
    """

    def __init__(
        self,
        secrets: str | Sequence[str],
        *,
        cookie: str = "session",
        max_age_s: int = SESSION_AGE_S,
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        same_site: SameSite = "Lax",
    ) -> None:
        try:
            import itsdangerous
        except ImportError:
            message = "CookieSessions needs itsdangerous: pip install itsdangerous"
            raise ConfigurationError(message) from None
        listed = [secrets] if isinstance(secrets, str) else [*secrets]
        _check_secrets(listed)
        if not isinstance(max_age_s, int) or max_age_s <= 0:
            message = f"CookieSessions(max_age_s={max_age_s!r:.80}): expected seconds"
            raise ConfigurationError(message)
        self._signer = itsdangerous.TimestampSigner(
            listed[::-1],  # itsdangerous signs with the last one
            # The name of the cookie is part of the key: a value that was signed for one
            # cookie is not valid in another one of the same secret.
            salt=f"blazeio.session.{cookie}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        self._bad = itsdangerous.BadSignature
        self._encode = itsdangerous.base64_encode
        self._decode = itsdangerous.base64_decode
        self._cookie = cookie
        self._max_age_s = max_age_s
        self._attributes: dict[str, Any] = {
            "path": path,
            "domain": domain,
            "secure": secure,
            "same_site": same_site,
        }
        self._open: dict[BlazeioServerProtocol, _Slot] = {}
        try:
            # Written once for nothing: a name or a domain that no cookie can have is
            # told when the app starts, and not at the first login.
            self._write("", 0)
        except LocalProtocolError as error:
            raise ConfigurationError(f"CookieSessions: {error}") from None

    async def __call__(self, r: BlazeioServerProtocol, call_next: CallNext) -> None:
        """Prepare ``of`` for the request; send what was changed."""
        slot = self._open[r] = _Slot()
        r.on_head(
            lambda status: self._fields(slot)
        )  # also for an error outside of this middleware
        try:
            await call_next(r)
            _warn_of_unsent_change(r, slot)
        finally:
            del self._open[r]

    def of(self, r: BlazeioServerProtocol) -> dict[str, Any]:
        """Return the values of the request's user; change them in place.

        They are JSON values. They are empty without a cookie, and where the cookie is
        too old or not signed by us. ``clear()`` ends the session: the cookie is
        deleted.

        Raises:
            LocalProtocolError: The caller's fault: the middleware is not around this
                request.
        """
        slot = self._open.get(r)
        if slot is None:
            message = "sessions.of(r): add the sessions first, web.middleware(sessions)"
            raise LocalProtocolError(message)
        if slot.opened is None:
            slot.opened = self._read(r)
        return slot.opened.values

    def _read(self, r: BlazeioServerProtocol) -> _Open:
        value = find_cookie(r.headers.get("cookie", ""), self._cookie)
        if not value or len(value) > COOKIE_BYTES:
            return _Open({}, "{}", 0)
        try:
            signed, at = self._signer.unsign(
                value, max_age=self._max_age_s, return_timestamp=True
            )
            text = self._decode(signed).decode()
            values = json.loads(text)
        except (self._bad, ValueError, RecursionError):
            return _Open({}, "{}", 1)  # an invalid cookie is deleted
        if not isinstance(values, dict):
            return _Open({}, "{}", 1)
        return _Open(values, text, at.timestamp())

    def _fields(self, slot: "_Slot") -> FieldInput | None:
        found = slot.opened
        slot.is_told = True
        if found is None:
            return None  # the session was not used
        text = found.told = _dump(found.values)
        # Renewed at half of its time, and not with each response: a page with twenty
        # requests would set twenty cookies.
        is_old = time.time() - found.signed_at > self._max_age_s / 2
        fields = [
            ("Vary", "Cookie")
        ]  # the session was used: the response may depend on it
        if not found.values:
            if found.signed_at:
                fields.append(("Set-Cookie", self._write("", 0)))
        elif text != found.text or is_old:
            value = self._signer.sign(self._encode(text.encode())).decode()
            fields.append(("Set-Cookie", self._write(value, self._max_age_s)))
        return fields

    def _write(self, value: str, max_age_s: int) -> str:
        size = len(self._cookie) + len(value)
        if size > COOKIE_BYTES:
            message = (
                f"the session is {size} octets as a cookie, browsers take "
                f"{COOKIE_BYTES}: keep an id in it, and the rest in a database"
            )
            raise LocalProtocolError(message)
        return serialize_set_cookie(
            self._cookie, value, max_age=max_age_s, **self._attributes
        )


def _warn_of_unsent_change(r: BlazeioServerProtocol, slot: _Slot) -> None:
    found = slot.opened
    if not slot.is_told or found is None:
        return
    try:
        is_lost = _dump(found.values) != found.told
    except LocalProtocolError:
        is_lost = True
    if is_lost:
        why = "the session was changed after the head of the response, and is lost"
        log.warning("%s %s: %s: change it before", r.method, r.tail, why)


def _dump(values: dict[str, Any]) -> str:
    try:
        return json.dumps(values, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"the session holds what is not JSON: {error}"
        raise LocalProtocolError(message) from error


def _check_secrets(secrets: Sequence[object]) -> None:
    if not secrets:
        _refuse_secrets("there is no secret")
    for each in secrets:
        if not isinstance(each, str) or len(each) < SECRET_CHARACTERS:
            _refuse_secrets(f"a secret has less than {SECRET_CHARACTERS} characters")


def _refuse_secrets(why: str) -> NoReturn:
    way_out = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
    raise ConfigurationError(f"CookieSessions: {why}; {way_out}")


# Traces by OpenTelemetry


_KNOWN_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
"""Others are ``_OTHER`` in a span: a client chooses them, and they would be without
number (semantic conventions, ``http.request.method``)."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class RequestIdFilter(logging.Filter):
    """Gives each log record the id of the request that is being handled.

    ``logging.Formatter("%(request_id)s %(message)s")`` then shows it; it is "-" where
    no request is being handled. Add it to a handler, so that it sees all loggers.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set ``record.request_id``; drops nothing."""
        r = find_running()
        record.request_id = "-" if r is None else r.id
        return True


class Tracing:
    """Makes spans: ``web.middleware(tracing)`` and ``io.Session(tracing=tracing)``.

    They are those of OpenTelemetry; it needs the extra ``otel``.

    Args:
        provider: Makes the tracer; None: OpenTelemetry's global one.
        record_query: Put the query of URLs into spans. Queries may hold secrets.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """

    def __init__(
        self, provider: "TracerProvider | None" = None, *, record_query: bool = False
    ) -> None:
        try:
            from opentelemetry import propagate, trace
        except ImportError:
            message = "Tracing needs OpenTelemetry: pip install opentelemetry-sdk"
            raise ConfigurationError(message) from None
        self._trace = trace
        self._propagate = propagate
        self._tracer = trace.get_tracer("blazeio", tracer_provider=provider)
        self._record_query = record_query

    async def __call__(self, r: BlazeioServerProtocol, call_next: CallNext) -> None:
        """Serve a request within a span."""
        trace = self._trace
        route = r.route
        method = r.method if r.method in _KNOWN_METHODS else "_OTHER"
        name = method if method != "_OTHER" else "HTTP"
        with self._tracer.start_as_current_span(
            name if route is None else f"{name} {route}",
            context=self._propagate.extract(r.headers),
            kind=trace.SpanKind.SERVER,
            attributes=self._describe(r, method, route),
            # An Abort, or a client that has left, is no exception of the service. What
            # is one is recorded below, by the status that it leads to.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await call_next(r)
            except BaseException as error:
                # Cancelled: the client has gone, and no status was sent.
                status = find_status(error) if isinstance(error, Exception) else 0
                if status >= 500:
                    span.record_exception(error)
                self._end_served(span, r.status or status, type(error).__qualname__)
                raise
            self._end_served(span, r.status, str(r.status))

    def _describe(
        self, r: BlazeioServerProtocol, method: str, route: str | None
    ) -> dict[str, Any]:
        host, port = _split_authority(r.authority, r.scheme)
        facts: dict[str, Any] = {
            "http.request.method": method,
            "url.path": r.path,
            "url.scheme": r.scheme,
            "network.protocol.version": r.http_version,
            "http.request_id": r.id,
        }
        if method != r.method:
            facts["http.request.method_original"] = r.method
        if route is not None:
            facts["http.route"] = route
        if host:
            facts["server.address"], facts["server.port"] = host, port
        if r.ip_host:
            facts["client.address"] = r.ip_host
        if "user-agent" in r.headers:
            facts["user_agent.original"] = r.headers["user-agent"]
        if self._record_query and r.query:
            facts["url.query"] = r.query
        return facts

    def _end_served(self, span: "Span", status: int, kind: str) -> None:
        """Note the status; only a 5xx is an error of a server's span."""
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= 500 or not status:
            span.set_attribute("error.type", kind)
            span.set_status(self._trace.StatusCode.ERROR)

    def begin_request(self, method: str, url: Url) -> "SentSpan":
        """Begin the span of a request that a ``Session`` sends."""
        known = method if method in _KNOWN_METHODS else "_OTHER"
        host, port = url.origin.host, url.origin.port
        shown = show_url(url.text)
        span = self._tracer.start_span(
            known if known != "_OTHER" else "HTTP",
            kind=self._trace.SpanKind.CLIENT,
            attributes={
                "http.request.method": known,
                "server.address": host,
                "server.port": port,
                "url.full": shown if self._record_query else shown.partition("?")[0],
            },
        )
        fields: dict[str, str] = {}
        self._propagate.inject(fields, self._trace.set_span_in_context(span))
        return SentSpan(span, fields, self._trace.StatusCode.ERROR)


class SentSpan:
    """The span of a request that is sent.

    Attributes:
        fields: To be sent with the request: ``traceparent`` and its like.
    """

    def __init__(self, span: "Span", fields: Mapping[str, str], error: Any) -> None:
        self._span = span
        self._error = error
        self.fields: Mapping[str, str] = fields

    def end(self, outcome: int | BaseException) -> None:
        """End it with the status of the response, or with what was raised instead."""
        span = self._span
        if isinstance(outcome, int):
            if outcome:  # else the caller writes content now, and reads later
                span.set_attribute("http.response.status_code", outcome)
            # Not as for a server: the conventions want a 4xx to be an error of the span
            # that has sent the request.
            kind = str(outcome) if outcome >= 400 else None
        else:
            kind = type(outcome).__qualname__
            span.record_exception(outcome)
        if kind is not None:
            span.set_attribute("error.type", kind)
            span.set_status(self._error)
        span.end()


def _split_authority(authority: str, scheme: str) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = authority, ""
    return host.strip("[]"), int(port) if port else _DEFAULT_PORTS[scheme]
