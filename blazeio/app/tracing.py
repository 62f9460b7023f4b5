"""Traces by OpenTelemetry, which the extra ``otel`` brings; ``RequestIdFilter``.

A span for each request that is served, and one for each that a ``Session`` sends, by
the semantic conventions of HTTP. What led to a request, and what it leads to, is told
by the W3C's ``traceparent``. An app without ``Tracing`` pays nothing.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blazeio.app.dispatch import CallNext
from blazeio.app.failures import find_status
from blazeio.app.request import find_running
from blazeio.client.url import Url, show_url
from blazeio.errors import ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

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
