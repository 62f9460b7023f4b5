"""``Cors``: who may read an answer, and preflights; ``security_headers``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import HSTS_S, App, security_headers
from blazeio.app.deliver import Deliver
from blazeio.app.middleware import Cors
from blazeio.errors import Abort, ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.response import Response
from tests.support.served import served

R = BlazeioServerProtocol
ORIGIN = "https://app.example.com"


def app_with(cors: Cors, folder: Path | None = None) -> App:
    web = App()
    web.middleware(cors)

    @web.add_route
    async def before_middleware(r: R) -> None:
        if r.path == "/closed":
            raise Abort("who?", 401)

    @web.route.get("/x")
    async def x(r: R) -> None:
        await Deliver.text(r, "hi", headers={"Vary": "Accept"})

    @web.route.get("/proxied")
    async def proxied(r: R) -> None:
        await Deliver.text(r, "hi", headers={"Access-Control-Allow-Origin": "*"})

    @web.route.get("/bug")
    async def bug(r: R) -> None:
        raise KeyError

    if folder is not None:
        web.add_static("/files", folder)
    return web


async def ask(
    web: App, method: str, target: str, headers: Mapping[str, str] | None = None
) -> Response:
    async with served(web) as site:
        return await site.ask(method, target, headers=headers)


def preflight(origin: str = ORIGIN, **headers: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "PUT", **headers}


def vary(answer: Response) -> set[str]:
    listed = ", ".join(answer.field_all("vary")).lower()
    return {each.strip() for each in listed.split(",")} - {""}


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/x", 200),
        ("HEAD", "/x", 200),
        ("GET", "/none", 404),
        ("PUT", "/x", 405),
        ("GET", "/bug", 500),
        ("GET", "/closed", 401),
        ("GET", "/files/a.txt", 200),
        ("OPTIONS", "/x", 204),
    ],
)
async def test_every_answer_says_that_an_origin_may_read_it(
    tmp_path: Path, method: str, target: str, status: int
) -> None:
    (tmp_path / "a.txt").write_text("a")
    web = app_with(Cors(ORIGIN, credentials=True, expose=["X-Page"]), tmp_path)
    answer = await ask(web, method, target, {"Origin": ORIGIN})
    assert answer.status == status
    assert answer.field("access-control-allow-origin") == ORIGIN
    assert answer.field("access-control-allow-credentials") == "true"
    assert answer.field("access-control-expose-headers") == "X-Page"
    assert "origin" in vary(answer)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".evil"])
async def test_another_origin_is_told_nothing_and_caches_know(origin: str) -> None:
    answer = await ask(app_with(Cors(ORIGIN)), "GET", "/x", {"Origin": origin})
    assert answer.status == 200
    assert answer.field("access-control-allow-origin") is None
    assert vary(answer) == {"origin", "accept"}


async def test_without_an_origin_only_caches_are_told() -> None:
    answer = await ask(app_with(Cors(ORIGIN)), "GET", "/x")
    assert answer.field("access-control-allow-origin") is None
    assert "origin" in vary(answer)


async def test_a_star_is_for_all_and_needs_no_vary() -> None:
    answer = await ask(app_with(Cors("*")), "GET", "/x", {"Origin": "null"})
    assert answer.field("access-control-allow-origin") == "*"
    assert vary(answer) == {"accept"}


async def test_what_all_may_read_says_so_in_stored_responses_too() -> None:
    """WHATWG Fetch, "CORS protocol and HTTP caches": without an Origin as with one."""
    answer = await ask(app_with(Cors("*", expose=["X-Page"])), "GET", "/x")
    assert answer.field("access-control-allow-origin") == "*"
    assert answer.field("access-control-expose-headers") == "X-Page"
    assert vary(answer) == {"accept"}


async def test_what_a_handler_passes_on_is_not_doubled() -> None:
    answer = await ask(app_with(Cors(ORIGIN)), "GET", "/proxied", {"Origin": ORIGIN})
    assert answer.field_all("access-control-allow-origin") == ["*"]


@pytest.mark.parametrize("target", ["/x", "/none", "/closed", "/files"])
async def test_a_preflight_is_answered_before_all_others(target: str) -> None:
    cors = Cors([ORIGIN], methods=["get", "PUT"], headers=["X-Key"], max_age_s=5)
    answer = await ask(app_with(cors), "OPTIONS", target, preflight())
    assert (answer.status, answer.body) == (204, b"")
    assert answer.field("access-control-allow-origin") == ORIGIN
    assert answer.field("access-control-allow-methods") == "GET, PUT"
    assert answer.field("access-control-allow-headers") == "X-Key"
    assert answer.field("access-control-max-age") == "5"
    assert answer.field("access-control-allow-credentials") is None
    assert vary(answer) == {"origin"}


async def test_the_fields_that_a_page_asks_for_are_allowed_by_default() -> None:
    asked = preflight(**{"Access-Control-Request-Headers": "x-a, x-b"})
    answer = await ask(app_with(Cors(ORIGIN)), "OPTIONS", "/x", asked)
    assert answer.field("access-control-allow-headers") == "x-a, x-b"
    assert vary(answer) == {"origin", "access-control-request-headers"}


async def test_a_preflight_of_another_origin_is_refused() -> None:
    asked = preflight("https://evil.example")
    answer = await ask(app_with(Cors(ORIGIN)), "OPTIONS", "/x", asked)
    assert answer.status == 403
    assert not any(name.startswith("access-control") for name, _ in answer.fields)
    assert vary(answer) == {"origin"}


async def test_a_sub_app_has_its_own() -> None:
    web = App()
    web.mount("/api", app_with(Cors(ORIGIN)))
    answer = await ask(web, "OPTIONS", "/api/x", preflight())
    assert answer.field("access-control-allow-origin") == ORIGIN
    answer = await ask(web, "GET", "/other", {"Origin": ORIGIN})
    assert answer.field("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        (("*",), {"credentials": True}, "name each origin"),
        (("null",), {"credentials": True}, "name each origin"),
        (("https://a.example/",), {}, "expected https://host"),
        (("a.example",), {}, "expected https://host"),
        (("https://*.example",), {}, "expected https://host"),
        (("https://A.example",), {}, "expected https://host"),
        ((["https://a.example", "*"],), {}, "expected https://host"),
        (([],), {}, "no origin"),
        ((ORIGIN,), {"methods": "GET"}, "a list of names"),
    ],
)
def test_what_cannot_be_is_told(
    arguments: tuple[str], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Cors(*arguments, **options)


async def test_security_headers_are_of_every_answer() -> None:
    policy = "default-src 'self'"
    fields = security_headers(content_security_policy=policy, hsts_s=HSTS_S)
    web = App(headers=fields)

    @web.route.get("/framed")
    async def framed(r: R) -> None:
        await Deliver.html(r, "<p>", headers={"X-Frame-Options": "SAMEORIGIN"})

    answer = await ask(web, "GET", "/none")
    assert answer.field("content-security-policy") == policy
    assert answer.field("x-content-type-options") == "nosniff"
    assert answer.field("x-frame-options") == "DENY"
    expected = "max-age=31536000; includeSubDomains"
    assert answer.field("strict-transport-security") == expected
    answer = await ask(web, "GET", "/framed")
    assert answer.field("x-frame-options") == "SAMEORIGIN"


def test_what_is_not_wanted_is_not_said() -> None:
    assert security_headers(
        frame_options=None, referrer_policy=None, opener_policy=None
    ) == {"X-Content-Type-Options": "nosniff"}
    for options in ({"frame_options": "deny"}, {"hsts_s": -1}, {"hsts_s": "1"}):
        with pytest.raises(ConfigurationError):
            security_headers(**options)
