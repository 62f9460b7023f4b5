"""``CookieSessions``: values in a cookie that only we can write."""

import sys
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.middleware import CookieSessions
from blazeio.errors import Abort, ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.response import Response
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol
OLD, NEW = "old-secret-of-chance", "new-secret-of-chance"


def app_with(sessions: CookieSessions) -> App:
    web = App()
    web.middleware(sessions)

    @web.route.get("/set/{value}")
    async def set_(r: R, value: str) -> None:
        sessions.of(r)["value"] = value
        await Deliver.text(r, "set")

    @web.route.get("/nested")
    async def nested(r: R) -> None:
        sessions.of(r).setdefault("list", []).append(1)
        await Deliver.json(r, sessions.of(r))

    @web.route.get("/show")
    async def show(r: R) -> None:
        await Deliver.json(r, sessions.of(r))

    @web.route.get("/clear")
    async def clear(r: R) -> None:
        sessions.of(r).clear()
        await Deliver.text(r, "cleared")

    @web.route.get("/abort")
    async def abort(r: R) -> None:
        sessions.of(r)["value"] = "aborted"
        await r.prepare()  # held, and taken back
        raise Abort("no", 409)

    @web.route.get("/aside")
    async def aside(r: R) -> None:
        await Deliver.text(r, "aside")

    @web.route.get("/bad")
    async def bad(r: R) -> None:
        sessions.of(r)["value"] = object()
        await Deliver.text(r, "bad")

    @web.route.get("/large")
    async def large(r: R) -> None:
        sessions.of(r)["value"] = "x" * 5000
        await Deliver.text(r, "large")

    return web


async def ask(
    sessions: CookieSessions, target: str, cookie: str | None = None
) -> Response:
    headers = None if cookie is None else {"Cookie": cookie}
    async with served(app_with(sessions)) as site:
        return await site.ask("GET", target, headers=headers)


def cookie_of(answer: Response) -> str:
    line = answer.field("set-cookie")
    assert line is not None
    return line.partition(";")[0]


async def test_what_is_set_comes_back() -> None:
    sessions = CookieSessions(NEW)
    answer = await ask(sessions, "/set/a")
    line = answer.field("set-cookie") or ""
    attributes = {each.strip() for each in line.split(";")[1:]}
    assert attributes == {
        "Path=/", "Max-Age=1209600", "Secure", "HttpOnly", "SameSite=Lax",
    }  # fmt: skip
    assert answer.field("vary") == "Cookie"
    answer = await ask(sessions, "/show", cookie_of(answer))
    assert answer.text == '{"value":"a"}'
    assert answer.field("set-cookie") is None
    assert answer.field("vary") == "Cookie"


async def test_what_was_changed_within_is_seen() -> None:
    sessions = CookieSessions(NEW)
    first = await ask(sessions, "/nested")
    second = await ask(sessions, "/nested", cookie_of(first))
    assert second.text == '{"list":[1,1]}'
    third = await ask(sessions, "/show", cookie_of(second))
    assert third.text == '{"list":[1,1]}'


async def test_who_does_not_ask_pays_nothing() -> None:
    answer = await ask(CookieSessions(NEW), "/aside", "session=nonsense")
    assert answer.field("set-cookie") is None
    assert answer.field("vary") is None


async def test_clear_deletes_the_cookie() -> None:
    sessions = CookieSessions(NEW)
    kept = cookie_of(await ask(sessions, "/set/a"))
    answer = await ask(sessions, "/clear", kept)
    assert cookie_of(answer) == "session="
    assert "Max-Age=0" in (answer.field("set-cookie") or "")
    assert (await ask(sessions, "/clear")).field("set-cookie") is None


async def test_an_error_has_the_session_too() -> None:
    sessions = CookieSessions(NEW)
    answer = await ask(sessions, "/abort")
    assert answer.status == 409
    answer = await ask(sessions, "/show", cookie_of(answer))
    assert answer.text == '{"value":"aborted"}'
    kept = cookie_of(await ask(sessions, "/set/a"))
    answer = await ask(sessions, "/abort", kept)
    answer = await ask(sessions, "/show", cookie_of(answer))
    assert answer.text == '{"value":"aborted"}'


async def test_a_new_secret_signs_and_an_old_one_is_read() -> None:
    kept = cookie_of(await ask(CookieSessions(OLD), "/set/a"))
    both = CookieSessions([NEW, OLD])
    assert (await ask(both, "/show", kept)).text == '{"value":"a"}'
    renewed = cookie_of(await ask(both, "/set/b", kept))
    only_new = CookieSessions([NEW])
    assert (await ask(only_new, "/show", renewed)).text == '{"value":"b"}'
    assert (await ask(only_new, "/show", kept)).text == "{}"


async def test_what_is_not_ours_is_empty_and_deleted() -> None:
    sessions = CookieSessions(NEW)
    good = cookie_of(await ask(sessions, "/set/a"))
    other = cookie_of(await ask(CookieSessions(NEW, cookie="other"), "/set/a"))
    for bad in (
        # Not the last character: some of its bits mean nothing.
        good[:-4] + ("A" if good[-4] != "A" else "B") + good[-3:],
        "session=e30",
        "session=" + "x" * 5000,
        "session=..",
        other.replace("other=", "session="),
    ):
        answer = await ask(sessions, "/show", bad)
        assert (answer.status, answer.text) == (200, "{}")


async def test_one_in_use_is_renewed_and_an_old_one_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import time

    sessions = CookieSessions(NEW, max_age_s=1000)
    kept = cookie_of(await ask(sessions, "/set/a"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 600)
    answer = await ask(sessions, "/show", kept)
    assert answer.text == '{"value":"a"}'
    assert cookie_of(answer) != kept
    monkeypatch.setattr(time, "time", lambda: now + 1100)
    assert (await ask(sessions, "/show", kept)).text == "{}"
    assert (await ask(sessions, "/show", cookie_of(answer))).text == '{"value":"a"}'


@pytest.mark.parametrize("target", ["/bad", "/large"])
async def test_what_no_cookie_can_hold_is_a_500(
    target: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask(CookieSessions(NEW), target)).status == 500
    assert "the session" in caplog.text


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_changed_too_late_is_told(
    streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = CookieSessions(NEW)
    web = app_with(sessions)

    @web.add_route
    async def _late(r: R) -> None:
        if streamed:
            sessions.of(r)["value"] = "in time"
            await r.write(b"part")
            sessions.of(r)["value"] = "too late"
        else:
            await Deliver.text(r, "sent")
            sessions.of(r)["value"] = "too late"

    async with served(web) as site:
        kept = cookie_of(await site.get("/set/a"))
        for path in ("/show", "/nested", "/clear", "/aside"):
            await site.ask("GET", path, headers={"Cookie": kept})
            await site.get(path)
        assert not caplog.records
        assert (await site.get("/late")).status == 200
    assert "GET /late: the session was changed after the head" in caplog.text


async def test_two_requests_of_one_connection_are_two_sessions() -> None:
    sessions = CookieSessions(NEW)
    async with served(app_with(sessions)) as site, await site.connect() as peer:
        kept = cookie_of(await site.get("/set/a"))
        cookie = {"Cookie": kept}
        await peer.send(
            serialize_request("GET", "/show", headers=cookie)
            + serialize_request("GET", "/show")
        )
        assert (await peer.read_response()).text == '{"value":"a"}'
        assert (await peer.read_response()).text == "{}"


async def test_without_the_middleware_it_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web, sessions = App(), CookieSessions(NEW)

    @web.add_route
    async def _x(r: R) -> None:
        sessions.of(r)

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    assert "web.middleware(sessions)" in caplog.text


@pytest.mark.parametrize(
    ("secrets", "options", "told"),
    [
        ("short", {}, "less than 16"),
        ([NEW, ""], {}, "less than 16"),
        ([], {}, "no secret"),
        (NEW, {"cookie": "a b"}, "CookieSessions"),
        (NEW, {"secure": False, "same_site": "None"}, "CookieSessions"),
        (NEW, {"max_age_s": 0}, "expected seconds"),
    ],
)
def test_what_cannot_be_is_told(
    secrets: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        CookieSessions(secrets, **options)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "itsdangerous", None)
    with pytest.raises(ConfigurationError, match=r"pip install itsdangerous$"):
        CookieSessions(NEW)
