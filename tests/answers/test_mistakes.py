"""A mistake in how a handler answers is a 500 and one ERROR that names both."""

import itertools
import logging
import os
import re
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver, EventStream, Prepare
from blazeio.app.request import Request
from blazeio.errors import Abort, ConfigurationError
from blazeio.files.static_server import Simpleserve
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.response import Response, bug_text
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol
Handler = Callable[[Any], Awaitable[Any]]


def errors_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno >= logging.WARNING]


async def answer_of(handler: Handler, method: str = "GET") -> Response:
    """The answer; the connection goes on after it."""
    web = App()

    async def x(r: R) -> Any:
        return await handler(r)

    web.add_route(x, "/x")
    async with served(web) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(serialize_request(method, "/x"))
            answer = await peer.read_response(method=method)
        return answer


def check_line(caplog: pytest.LogCaptureFixture, said: str) -> None:
    """Each of both requests has one ERROR of one line, with file and line."""
    first, second = errors_of(caplog)
    line = first.getMessage()
    assert first.levelname == second.levelname == "ERROR"
    assert said in line
    assert "\n" not in line
    assert re.search(rf"{re.escape(__name__)}\.\S+ \({re.escape(__file__)}:\d+\)", line)


async def set_field(r: Any) -> None:
    r.headers["x"] = "y"


d: Any = Deliver
p: Any = Prepare
abort: Any = Abort


def generate() -> Any:
    yield b"x"


async def twice(r: R) -> None:
    await r.prepare()
    await r.prepare()


async def more(r: R) -> None:
    await r.prepare({"Content-Length": 2})
    await r.write(b"12345")


async def fail(*words: Any) -> None:
    raise abort(*words)


async def use_unawaited(r: R) -> None:
    params: Any = Request.get_params(r)
    await Deliver.text(r, params["limit"])


async def keep_on_r(r: Any) -> None:
    r.user = "x"


async def return_abort(r: R) -> Any:
    return Abort("x", 404)


MISTAKES: dict[str, tuple[Handler, str]] = {
    "json without r": (
        lambda r: d.json({"a": 1}),
        "r is missing: Deliver.json takes it first, write `await io.Deliver.json(r, ",
    ),
    "text without r": (lambda r: d.text("x"), "r is missing: Deliver.text takes it"),
    "json without r but a status": (
        lambda r: d.json({"a": 1}, 200),
        "r is missing: Deliver.json takes it first",
    ),
    "None for r": (lambda r: d.text(None, "x"), "r is missing: Deliver.text"),
    "status of text": (
        lambda r: d.json(r, 1, "200"),
        "status '200': expected a number, 200 to 599",
    ),
    "status 99": (lambda r: d.text(r, "x", 99), "status 99: expected a number"),
    "status 1000": (lambda r: d.bytes(r, b"x", 1000), "status 1000: expected"),
    "status True": (lambda r: d.text(r, "x", True), "status True: expected"),
    "status None": (lambda r: d.html(r, "x", None), "status None: expected"),
    "headers as status": (lambda r: d.json(r, 1, {"A": "b"}), "status {'A': 'b'}: "),
    "prepare status": (lambda r: r.prepare({}, "200"), "status '200': expected"),
    "prepare status None": (lambda r: p.text(r, status=None), "status None: expected"),
    "headers of text": (
        lambda r: d.text(r, "x", headers="A: b"),
        "header fields: expected a mapping or pairs, found 'A: b'",
    ),
    "headers of octets": (lambda r: d.text(r, "x", headers=b"A: b"), "or pairs, found"),
    "headers of words": (lambda r: r.prepare(["ab"]), "or pairs, found 'ab'"),
    "headers of a number": (lambda r: d.bytes(r, b"", headers=5), "pairs, found 5"),
    "a triple": (lambda r: d.json(r, 1, headers=[("a", "b", "c")]), "found ('a', 'b'"),
    "a name of None": (lambda r: d.json(r, 1, headers={None: "b"}), "field name None"),
    "a value of None": (lambda r: r.prepare({"A": None}), "'A' is a NoneType, not str"),
    "a value with a line end": (
        lambda r: d.text(r, "x", headers={"A": "b\r\nSet-Cookie: c"}),
        "holds a control character",
    ),
    "content None": (lambda r: d.text(r, None), "the content is None: expected str"),
    "content of a number": (lambda r: d.html(r, 5), "the content is of type int"),
    "octets of a number": (lambda r: d.bytes(r, 5), "the content is of type int"),
    "content of a dict": (lambda r: d.text(r, {}), "a dict: send it by Deliver.json"),
    "content not awaited": (
        lambda r: d.bytes(r, Request.get_json(r)),
        "the coroutine of Request.get_json: write `await` before it",
    ),
    "written number": (lambda r: r.write(5), "the content is of type int"),
    "written None": (lambda r: r.write(None), "the content is None"),
    "written dict": (lambda r: r.write({"a": 1}), "send it by Deliver.json"),
    "ended with a number": (lambda r: r.eof(3), "eof: the content is of type int"),
    "streamed dict": (lambda r: d.stream(r, {"a": 1}), "send it by Deliver.json"),
    "streamed numbers": (lambda r: d.stream(r, [1, 2]), "a piece of content is of"),
    "streamed function": (
        lambda r: d.stream(r, generate),
        "the function generate itself: call it",
    ),
    "events of None": (lambda r: d.sse(r, None), "the content is None"),
    "redirect to None": (lambda r: d.redirect(r, None), "redirect to None: expected"),
    "redirect with 200": (
        lambda r: d.redirect(r, "/", 200),
        "redirect with status 200",
    ),
    "redirect with text": (lambda r: d.redirect(r, "/", "302"), "with status '302'"),
    "file None": (lambda r: d.file(r, None), "expected str, bytes or os.PathLike"),
    "prepared twice": (twice, "a response has already begun: 200; the second is at "),
    "more than declared": (more, "3 octets more than the declared Content-Length: 2"),
    "abort with a number": (
        lambda r: fail(404),
        "Abort(404, 403): the text comes first: write Abort('Not Found', 404)",
    ),
    "abort the wrong way round": (
        lambda r: fail(404, "gone"),
        "Abort(404, 'gone'): the text comes first: write Abort('gone', 404)",
    ),
    "abort with text twice": (lambda r: fail("x", "404"), "status '404': expected"),
    "abort with None": (lambda r: fail("x", None), "status None: expected"),
    "abort with True": (lambda r: fail("x", True), "status True: expected"),
    "abort with 99": (lambda r: fail("x", 99), "status 99: expected"),
    "abort with octets": (
        lambda r: fail(b"x", 404),
        "is of type bytes, expected a str",
    ),
    "fewer than declared": (
        lambda r: d.text(r, "x", headers={"Content-Length": 5}),
        "ended 4 octets short of its declared Content-Length: 5",
    ),
    "more than declared at once": (
        lambda r: d.json(r, "abc", headers={"Content-Length": 0}),
        "5 octets more than the declared Content-Length: 0",
    ),
    "an attribute": (lambda r: r.pulll(), "'pulll': did you mean r.pull?"),
    "an answer of r": (lambda r: r.json({}), "write `await io.Deliver.json(r, ...)`"),
    "a form of r": (lambda r: r.form(), ": did you mean io.Request.form_data(r)?"),
    "a field that is set": (set_field, "`r.add_header(name, value)` adds a field to"),
    "fields that are set": (
        lambda r: r.headers.update(a="b"),
        "these fields were received; `r.add_header(name, value)` adds",
    ),
    "a value on r": (keep_on_r, ": keep what is yours in `r.store`, a dict"),
    "used without await": (
        use_unawaited,
        "is not subscriptable; write `await io.Request.get_params(...)`",
    ),
    "sent without await": (
        lambda r: d.json(r, Request.get_json(r)),
        "of type coroutine is unsupported; write `await io.Request.get_json(...)`",
    ),
    "abort returned": (return_abort, "it returned Abort('x', 404) and answered"),
    "abort with fields": (lambda r: fail("x", 404, "A: b"), "found 'A: b'"),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_it_is_a_500_and_one_error_of_one_line(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler, said = MISTAKES[name]

    async def call(r: R) -> Any:
        return await handler(r)

    with warnings.catch_warnings(record=True) as warned:
        answer = await answer_of(call)
    assert (answer.status, answer.text) == (500, bug_text(answer))
    assert not warned
    check_line(caplog, said)


async def test_a_second_answer_leaves_the_first_whole_and_names_both_places(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer_twice(r: R) -> None:
        await Deliver.text(r, "first")
        await Deliver.text(r, "second")

    assert (await answer_of(answer_twice)).text == "first"
    first = answer_twice.__code__.co_firstlineno + 1
    line = errors_of(caplog)[0].getMessage()
    second, _, first_place = line.partition("the first was at")
    assert f"answer_twice ({__file__}:{first + 1})" in second
    assert f"answer_twice ({__file__}:{first})" in first_place


async def test_an_abort_behind_the_beginning_of_an_answer_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def abort_late(r: R) -> None:
        await Deliver.text(r, "all")
        raise Abort("late", 400)

    assert (await answer_of(abort_late)).text == "all"
    check_line(caplog, "Abort('late', 400) cannot be sent: a response has already")


async def answer_in_a_loop(r: R) -> None:
    for text in ("first", "second"):
        await Deliver.text(r, text)


async def write_after_the_end(r: R) -> None:
    await r.eof(b"first")
    await r.write(b"more")


async def end_twice(r: R) -> None:
    await r.eof(b"first")
    await r.eof()


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (answer_in_a_loop, "the first was at the same place in a loop"),
        (write_after_the_end, "the message has already ended"),
        (end_twice, "the message has already ended"),
    ],
)
async def test_what_comes_after_the_answer_leaves_it_whole(
    handler: Handler, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await answer_of(handler)).text == "first"
    check_line(caplog, said)


def forget_json(r: R) -> Any:
    Deliver.json(r, {"a": 1})  # type: ignore[unused-coroutine]


def forget_write(r: R) -> Any:
    r.write(b"x")  # type: ignore[unused-coroutine]


def forget_prepare(r: R) -> Any:
    Prepare.text(r)  # type: ignore[unused-coroutine]


def forget_own(r: R) -> Any:
    helper(r)  # type: ignore[unused-coroutine]


def forget_file(r: R) -> Any:
    Simpleserve.serve(r, __file__)  # type: ignore[unused-coroutine]


async def helper(r: R) -> None:
    await Deliver.text(r, "x")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("forget", "call"),
    [
        (forget_json, "io.Deliver.json"),
        (forget_write, "r.write"),
        (forget_prepare, "io.Prepare.text"),
        (forget_own, "helper"),
        (forget_file, "Simpleserve.serve"),
    ],
)
async def test_a_forgotten_await_is_a_500_and_one_error(
    method: str,
    forget: Callable[[R], Any],
    call: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(r: R) -> None:
        forget(r)

    with warnings.catch_warnings(record=True) as warned:
        answer = await answer_of(handler, method)
    assert answer.status == 500
    assert not warned
    said = (
        f"{method} /x: {call} was called without await in {__name__}.{forget.__name__}"
    )
    check_line(caplog, said)
    assert f"write `await {call}(...)`" in caplog.text


async def test_a_forgotten_await_is_noted_as_the_handler_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        answer = Deliver.json(r, {"a": 1})
        assert answer is not None

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    (record,) = errors_of(caplog)
    assert "io.Deliver.json was called without await in " in record.getMessage()
    assert f"<locals>._x ({__file__}:" in record.getMessage()


async def test_a_forgotten_await_in_a_begun_response_cuts_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()

    @web.add_route
    async def _events(r: R) -> None:
        async with EventStream(r) as events:
            await events.send("one")
            events.send("two")  # type: ignore[unused-coroutine]

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/events"))
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()
    (record,) = errors_of(caplog)
    assert "EventStream.send was called without await" in record.getMessage()


async def test_what_an_app_forgets_beside_a_response_does_not_cut_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def audit(r: R) -> None: ...

    async def handler(r: R) -> None:
        audit(r)  # type: ignore[unused-coroutine]
        await r.write(b"all")

    assert (await answer_of(handler)).body == b"all"
    check_line(caplog, "audit was called without await")


async def test_a_forgotten_end_alone_is_told_and_does_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(r: R) -> None:
        await r.write(b"all")
        r.eof()  # type: ignore[unused-coroutine]

    assert (await answer_of(handler)).body == b"all"
    check_line(caplog, "r.eof was called without await")


async def test_one_request_does_not_pay_for_the_one_before() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        if r.query:
            r.write(b"x")  # type: ignore[unused-coroutine]

    async with served(web) as site, await site.connect() as peer:
        request = serialize_request("GET", "/x?1") + serialize_request("GET", "/x")
        await peer.send(request * 2)
        for status in (500, 204, 500, 204):
            assert (await peer.read_response()).status == status


async def test_a_coroutine_that_is_returned_is_told_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> Any:
        return Deliver.json(r, 1)

    with warnings.catch_warnings(record=True) as warned:
        async with served(web) as site:
            assert (await site.get("/x")).status == 500
    assert not warned
    (record,) = errors_of(caplog)
    assert "_x (" in record.getMessage()
    assert "write `await Deliver.json(...)`" in record.getMessage()


def test_other_coroutines_are_python_s_to_tell() -> None:
    async def nobody() -> None: ...

    with pytest.warns(RuntimeWarning, match="nobody' was never awaited"):
        nobody()  # type: ignore[unused-coroutine]


async def test_every_kind_of_octets_is_sent_as_it_is() -> None:
    contents: list[Any] = [b"ab", bytearray(b"ab"), memoryview(b"xaxb")[1::2], "ab"]
    for content, send in itertools.product(
        contents, (d.text, d.html, d.bytes, d.stream)
    ):

        async def handler(r: R, send: Any = send, content: Any = content) -> None:
            await send(r, content)

        assert (await answer_of(handler)).body == b"ab"


async def test_a_redirect_never_splits_the_response() -> None:
    answer = await answer_of(lambda r: Deliver.redirect(r, "/a\r\nSet-Cookie: b=c"))
    assert answer.field("location") == "/a%0D%0ASet-Cookie:%20b=c"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "cannot be served: No such file"),
        ("", "is a folder, not a file"),
        ("pipe", "is not a regular file"),
        ("a\0b", "is not a name that a file can have"),
    ],
)
async def test_a_file_that_is_not_there_is_a_404_and_a_warning(
    name: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe")
    answer = await answer_of(lambda r: Deliver.file(r, f"{tmp_path}/{name}"))
    assert answer.status == 404
    record = errors_of(caplog)[0]
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"GET /x: {tmp_path}")
    assert said in record.getMessage()


# Registering


async def takes_r(r: R) -> None: ...
async def takes_nothing() -> None: ...
async def takes_x(r: R, x: int) -> None: ...
async def yields(r: R) -> Any:
    yield r


def is_plain(r: R) -> None: ...


w: Any = App()
make: Any = App


class Methods:
    async def a(self, r: R) -> None: ...


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (
            lambda: w.add_route(takes_nothing, "/a"),
            "is called with r: write `async def ",
        ),
        (lambda: w.add_route(is_plain, "/a"), "must be defined with `async def`"),
        (lambda: w.add_route(yields, "/a"), "by `await io.Deliver.stream(r, pieces"),
        (lambda: w.add_route(takes_x, "/a"), "of the path is written {x}"),
        (lambda: w.add_route(App, "/a"), "a class: web.attach"),
        (lambda: w.add_route("/a", takes_r), "the handler comes first, then its path"),
        (lambda: w.add_route("/a")("x"), "a str, expected a function"),
        (
            lambda: w.add_route(takes_r, "/a/<int:x>"),
            "write {x:int} instead of <int:x>",
        ),
        (
            lambda: w.add_route(takes_r, "/<string:x>"),
            "write {x:str} instead of <string",
        ),
        (lambda: w.add_route(takes_r, "/<x>"), "write {x} instead of <x>"),
        (lambda: w.route.get("/:id")(takes_r), "write {id} instead of :id"),
        (lambda: w.route.get("/a/*")(takes_r), "write {rest:path} instead of *"),
        (
            lambda: w.route.get("/*splat")(takes_r),
            "write {splat:path} instead of *splat",
        ),
        (lambda: w.route.get("/a*b")(takes_r), "'a*b' is not a segment"),
        (lambda: w.route.get("a")(takes_r), "expected '/' and a path: write '/a'"),
        (lambda: w.route.get("/a?b=1")(takes_r), "read by io.Request.get_params"),
        (lambda: w.route.get("/{x}/{x}")(takes_x), "two parameters of one name, 'x'"),
        (
            lambda: w.route.get("/{x:number}")(takes_x),
            "no kind of parameter is 'number'",
        ),
        (lambda: w.add_route(takes_r, ["/a"]), "a list, expected a path"),
        (lambda: w.route("/a"), "web.route('/a'): write @web.route.get('/path')"),
        (lambda: w.mount("/<x>", App()), "write {x} instead of <x>"),
        (lambda: w.mount(App(), "/a"), "the prefix comes first, then the app"),
        (lambda: w.mount("/a", None), "of type 'NoneType': expected an App"),
        (lambda: w.route.get("/[x]")(takes_r), "write {x} instead of [x]"),
        (lambda: w.route.get("/[...x]")(takes_r), "write {x:path} instead of [...x]"),
        (lambda: w.route.get("/{*x}")(takes_r), "write {x:path} instead of {*x}"),
        (lambda: w.route.get("/{x...}")(takes_r), "write {x:path} instead of {x..."),
        (lambda: w.route.get("/a")(Methods.a), "a method: give that of an object"),
        (lambda: make(8000), "the host comes first: App('', 8000)"),
        (lambda: make("0.0.0.0:80"), "write App('0.0.0.0', 80)"),
        (lambda: make("", "80"), "port '80': expected 0 to 65535"),
        (lambda: make("", 70000), "port 70000: expected 0 to 65535"),
        (lambda: make("", 1, tls="a.pem"), "expected io.TlsSettings(certfile="),
    ],
)
def test_what_cannot_be_registered_is_told_with_the_way_out(
    register: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        register()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("get", "web.route.get"),
        ("websocket", "io.WebSocket(r)"),
        ("add_middleware", "@web.middleware"),
        ("static", "web.add_static"),
        ("on_startup", "web.on_start"),
        ("listen", "web.runner()"),
    ],
)
def test_what_other_frameworks_call_otherwise_is_told(name: str, ours: str) -> None:
    with pytest.raises(
        AttributeError, match=f"no attribute '{name}'; write .*"
    ) as caught:
        getattr(w, name)
    assert ours in str(caught.value)
    assert not hasattr(w, name)


def test_two_routes_for_one_path_name_both_handlers() -> None:
    web = App()
    web.add_route(takes_r, "/same")
    with pytest.raises(
        ConfigurationError, match=r"takes_other .*collides with .*takes_r"
    ):
        web.add_route(takes_other, "/same")


async def takes_other(r: R) -> None: ...
