"""Spans of OpenTelemetry: of requests that are served, and of those that are sent."""

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.middleware import Tracing
from blazeio.client.session import Session
from blazeio.errors import Abort, ConnectError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until
from tests.support.served import served

R = BlazeioServerProtocol
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Traces:
    """A tracer provider that keeps its spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def only(self) -> ReadableSpan:
        (span,) = self.spans()
        return span


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def web(traces: Traces) -> App:
    web = App()
    web.middleware(Tracing(traces.provider))

    @web.route.get("/users/{number:int}")
    async def user(r: R, number: int) -> None:
        await Deliver.json(r, {"id": number})

    @web.route.get("/refused")
    async def refused(r: R) -> None:
        raise Abort("no", 403)

    @web.route.get("/bug")
    async def bug(r: R) -> None:
        raise KeyError("secret")

    @web.route.get("/inner")
    async def inner(r: R) -> None:
        tracer = trace.get_tracer("shop", tracer_provider=traces.provider)
        with tracer.start_as_current_span("query"):
            await asyncio.sleep(0)
        await Deliver.text(r, "done")

    return web


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_served_request_is_a_span_by_the_conventions(
    web: App, traces: Traces
) -> None:
    async with served(web) as site:
        headers = {"User-Agent": "tests/1", "traceparent": PARENT}
        await site.ask("GET", "/users/7?token=secret", headers=headers)
    span = traces.only()
    assert (span.name, span.kind) == ("GET /users/{number:int}", SpanKind.SERVER)
    facts = attributes(span)
    assert facts["http.request.method"] == "GET"
    assert facts["http.route"] == "/users/{number:int}"
    assert facts["url.path"] == "/users/7"
    assert facts["url.scheme"] == "http"
    assert facts["http.response.status_code"] == 200
    assert facts["user_agent.original"] == "tests/1"
    assert facts["network.protocol.version"] in {"1.1", "2"}
    assert "secret" not in str(facts)
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" in PARENT


@pytest.mark.parametrize(
    ("target", "status", "is_error", "kind"),
    [
        ("/refused", 403, False, None),
        ("/nowhere", 404, False, None),
        ("/bug", 500, True, "KeyError"),
    ],
)
async def test_only_a_5xx_is_an_error(
    web: App, traces: Traces, target: str, status: int, is_error: bool, kind: str | None
) -> None:
    async with served(web) as site:
        assert (await site.get(target)).status == status
    span = traces.only()
    assert attributes(span)["http.response.status_code"] == status
    assert (span.status.status_code is StatusCode.ERROR) is is_error
    assert attributes(span).get("error.type") == kind
    assert bool(span.events) is is_error


async def test_methods_that_a_client_invents_do_not_name_spans(
    web: App, traces: Traces
) -> None:
    async with served(web) as site:
        await site.ask("BREW", "/users/7")
    span = traces.only()
    assert span.name == "HTTP"
    assert attributes(span)["http.request.method"] == "_OTHER"
    assert attributes(span)["http.request.method_original"] == "BREW"


async def test_spans_of_a_handler_are_within_that_of_its_request(
    web: App, traces: Traces
) -> None:
    async with served(web) as site:
        await site.get("/inner")
        await site.get("/inner")
    first, around, second, around_second = traces.spans()
    assert first.parent == around.context
    assert second.parent == around_second.context
    assert around.context.trace_id != around_second.context.trace_id


@pytest.mark.http1
async def test_a_client_that_goes_away_is_an_error_without_a_status(
    web: App, traces: Traces
) -> None:
    begun = asyncio.Event()

    @web.route.get("/long")
    async def long(r: R) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        peer.reset()
        await wait_until(lambda: bool(traces.spans()))
    facts = attributes(traces.only())
    assert "http.response.status_code" not in facts
    assert facts["error.type"] == "CancelledError"


async def test_what_a_session_sends_belongs_to_the_same_trace(
    web: App, traces: Traces
) -> None:
    tracing = Tracing(traces.provider)
    async with (
        served(web) as site,
        Session(tracing=tracing) as session,
        session.get(f"http://127.0.0.1:{site.port}/users/7?token=secret") as resp,
    ):
        assert resp.status_code == 200
    by_kind = {span.kind: span for span in traces.spans()}
    sent, answered = by_kind[SpanKind.CLIENT], by_kind[SpanKind.SERVER]
    assert answered.parent is not None
    assert answered.parent.span_id == sent.context.span_id
    facts = attributes(sent)
    assert facts["http.response.status_code"] == 200
    assert str(facts["url.full"]).endswith("/users/7")
    assert facts["server.address"] == "127.0.0.1"


async def test_a_request_that_fails_ends_its_span_with_the_error(
    traces: Traces,
) -> None:
    async with Session(tracing=Tracing(traces.provider)) as session:
        with pytest.raises(ConnectError):
            await session.get("http://127.0.0.1:1/")
    span = traces.only()
    assert span.status.status_code is StatusCode.ERROR
    assert "Connect" in str(attributes(span)["error.type"])


async def test_headers_of_the_caller_stay(web: App, traces: Traces) -> None:
    @web.route.get("/told")
    async def told(r: R) -> None:
        await Deliver.json(r, [r.headers["x-a"], "traceparent" in r.headers])

    async with (
        served(web) as site,
        Session(
            f"http://127.0.0.1:{site.port}/told",
            headers={"X-A": "1"},
            tracing=Tracing(traces.provider),
        ) as resp,
    ):
        assert await resp.json() == ["1", True]
