"""httpbin, a foreign server (Flask and Werkzeug): what it offers is reachable."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.errors import ReadTimeout
from tests.client.httpbin_server import httpbin
from tests.support.clock import scaled

Pool = io.Session[Any]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with httpbin() as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[Pool]:
    pool: Pool = io.Session(cookie_jar=io.CookieJar(), follow_redirects=True)
    async with pool as session:
        yield session


async def ask(session: Pool, url: str, method: str = "GET", **options: Any) -> Any:
    async with session.request(method, url, **options) as resp:
        assert resp.status_code == 200
        return await resp.json()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_each_method_has_its_content(
    session: Pool, url: str, method: str
) -> None:
    told = await ask(
        session, f"{url}/anything", method, params={"a": ["1", "ü"]}, json={"b": [1]}
    )
    assert (told["method"], told["args"]) == (method, {"a": ["1", "ü"]})
    assert told["json"] == {"b": [1]}


async def test_head_and_options_have_none(session: Pool, url: str) -> None:
    async with session.head(f"{url}/get") as resp:
        assert (resp.status_code, await resp.aread()) == (200, b"")
    async with session.options(f"{url}/get") as resp:
        assert "GET" in resp.headers["allow"]


async def test_fields_are_sent_and_received(session: Pool, url: str) -> None:
    told = await ask(session, f"{url}/headers", headers={"X-One": "1"})
    assert told["headers"]["X-One"] == "1"
    async with session.get(f"{url}/response-headers?X-Two=2&X-Two=3") as resp:
        assert resp.headers.get_all("x-two") == ["2", "3"]


async def test_a_form_is_sent(session: Pool, url: str) -> None:
    form = {"a": "1", "b": ["2", "ü"]}
    told = await ask(session, f"{url}/post", "POST", form=form)
    assert told["form"] == form


async def test_files_are_sent_with_a_form(
    session: Pool, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.txt"
    path.write_text("from disk")
    files = {"octets": ("ü.txt", b"hello", "text/plain"), "path": path}
    told = await ask(session, f"{url}/post", "POST", form={"a": "1"}, files=files)
    assert told["form"] == {"a": "1"}
    assert told["files"] == {"octets": "hello", "path": "from disk"}


@pytest.mark.parametrize(
    ("path", "auth"),
    [
        ("basic-auth/me/x", ("me", "x")),
        ("hidden-basic-auth/me/x", ("me", "x")),
        ("digest-auth/auth/me/x", io.DigestAuth("me", "x")),
        ("digest-auth/auth/me/x/SHA-256", io.DigestAuth("me", "x")),
        ("digest-auth/auth/me/x/SHA-512", io.DigestAuth("me", "x")),
        ("digest-auth/auth-int/me/x/MD5", io.DigestAuth("me", "x")),
    ],
)
async def test_credentials_are_accepted(
    session: Pool, url: str, path: str, auth: Any
) -> None:
    told = await ask(session, f"{url}/{path}", auth=auth)
    assert told["authenticated"] is True


async def test_wrong_credentials_are_refused(session: Pool, url: str) -> None:
    for auth in (("me", "y"), io.DigestAuth("me", "y")):
        kind = "basic-auth" if isinstance(auth, tuple) else "digest-auth/auth"
        async with session.get(f"{url}/{kind}/me/x", auth=auth) as resp:
            assert resp.status_code == 401


async def test_a_token_and_the_userinfo_of_a_url(session: Pool, url: str) -> None:
    told = await ask(
        session, f"{url}/bearer", headers={"Authorization": "Bearer token"}
    )
    assert told == {"authenticated": True, "token": "token"}
    me = url.replace("//", "//me:x@")
    assert (await ask(session, f"{me}/basic-auth/me/x"))["authenticated"]


async def test_cookies_are_kept_sent_and_deleted(session: Pool, url: str) -> None:
    told = await ask(session, f"{url}/cookies/set?a=1&b=2")
    assert told["cookies"] == {"a": "1", "b": "2"}
    told = await ask(session, f"{url}/cookies/delete?a", cookies={"c": "3"})
    assert told["cookies"] == {"b": "2", "c": "3"}


@pytest.mark.parametrize(
    "path", ["redirect/3", "relative-redirect/3", "absolute-redirect/3"]
)
async def test_redirects_are_followed(session: Pool, url: str, path: str) -> None:
    async with session.get(f"{url}/{path}") as resp:
        assert (await resp.json())["url"] == f"{url}/get"
        assert len(resp.history) == 3


@pytest.mark.parametrize(("status", "method"), [(302, "GET"), (307, "POST")])
async def test_a_redirected_post_keeps_its_content_or_not(
    session: Pool, url: str, status: int, method: str
) -> None:
    params = {"url": "/anything", "status_code": status}
    told = await ask(
        session, f"{url}/redirect-to", "POST", params=params, json={"a": 1}
    )
    assert told["method"] == method
    assert told["json"] == ({"a": 1} if method == "POST" else None)


@pytest.mark.parametrize(
    ("path", "name"),
    [("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli")],
)
async def test_codings_are_undone(
    session: Pool, url: str, path: str, name: str
) -> None:
    told = await ask(session, f"{url}/{path}", compress=True)
    assert told[name] is True
    assert "br" in told["headers"]["Accept-Encoding"]


async def test_content_streams(session: Pool, url: str) -> None:
    async with session.get(f"{url}/stream/5") as resp:
        assert resp.transfer_encoding == "chunked"
        assert (await resp.aread()).count(b"\n") == 5
    async with session.get(f"{url}/stream-bytes/100000?seed=1") as resp:
        pieces = [piece async for piece in resp.pull()]
    assert len(b"".join(pieces)) == 100_000
    async with session.get(f"{url}/drip?numbytes=5&duration=0.1&delay=0") as resp:
        assert await resp.aread() == b"*****"


async def test_octets_and_ranges_are_as_they_are(session: Pool, url: str) -> None:
    async with session.get(f"{url}/bytes/5000?seed=1") as resp:
        assert (len(await resp.aread()), resp.content_length) == (5000, 5000)
    headers = {"Range": "bytes=10-19"}
    async with session.get(f"{url}/range/26", headers=headers) as resp:
        assert (resp.status_code, await resp.text()) == (206, "klmnopqrst")
        assert resp.headers["content-range"] == "bytes 10-19/26"


@pytest.mark.parametrize("status", [204, 304, 400, 404, 418, 500, 503])
async def test_a_status_is_an_answer(session: Pool, url: str, status: int) -> None:
    async with session.get(f"{url}/status/{status}") as resp:
        await resp.aread()
        assert resp.status_code == status


async def test_validators_are_obeyed(session: Pool, url: str) -> None:
    async with session.get(f"{url}/etag/x", headers={"If-None-Match": '"x"'}) as resp:
        assert resp.status_code == 304
    async with session.get(f"{url}/cache", headers={"If-None-Match": "x"}) as resp:
        assert resp.status_code == 304


async def test_who_is_late_is_not_waited_for(session: Pool, url: str) -> None:
    timeouts = io.Timeouts(head_s=scaled(0.05))
    with pytest.raises(io.RequestTimeout):
        await session.get(f"{url}/delay/1", timeouts=timeouts).__aenter__()
    timeouts = io.Timeouts(read_s=scaled(0.05))
    slow = f"{url}/drip?numbytes=2&duration=2&delay=0"
    async with session.get(slow, timeouts=timeouts) as resp:
        with pytest.raises(ReadTimeout):
            await resp.aread()


async def test_texts_and_images_are_what_they_are(session: Pool, url: str) -> None:
    async with session.get(f"{url}/encoding/utf8") as resp:
        assert "∮ E⋅da = Q" in await resp.text()
    async with session.get(f"{url}/image/png") as resp:
        assert resp.headers["content-type"] == "image/png"
        assert (await resp.aread()).startswith(b"\x89PNG")
    async with session.get(f"{url}/xml") as resp:
        assert (await resp.text()).startswith("<?xml")
