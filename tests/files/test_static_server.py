import inspect
import os
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.files.static_server import StaticOptions, render_listing
from tests.files.conftest import PAGE
from tests.support.response import Response
from tests.support.served import served


def app_of(static: io.StaticServer) -> io.App:
    web = io.App()

    @web.add_route
    async def handle_all_middleware(r: io.BlazeioServerProtocol) -> None:
        await static(r)

    return web


async def answer_of(
    home: Path,
    target: str,
    method: str = "GET",
    *,
    prefix: str = "/assets",
    asked: dict[str, str] | None = None,
    **options: Any,
) -> Response:
    web = app_of(io.StaticServer(prefix, home, **options))
    async with served(web) as site:
        return await site.ask(method, target, headers=asked)


@pytest.mark.parametrize("prefix", ["/assets", "/assets/", "/"])
async def test_files_are_found_below_the_prefix(home: Path, prefix: str) -> None:
    start = prefix.rstrip("/")
    answer = await answer_of(home, f"{start}/a%20b.txt?v=1", prefix=prefix)
    assert (answer.status, answer.text) == (200, "text")
    assert (await answer_of(home, f"{start}/none.txt", prefix=prefix)).status == 404


@pytest.mark.parametrize("target", ["/a%20b.txt", "/assetsa%20b.txt", "/other/a"])
async def test_other_paths_are_404(home: Path, target: str) -> None:
    assert (await answer_of(home, target)).status == 404


async def test_an_app_takes_it_as_a_route_too(home: Path) -> None:
    web = io.App()
    web.add_route(io.StaticServer("/", home), "/a b.txt")
    async with served(web) as site:
        assert (await site.get("/a%20b.txt")).text == "text"


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/page/%2e%2e/%2e%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "//secret.txt",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/out/secret.txt",
        "/out.txt",
        "/out.txt/",
        "/.env",
        "/.git/config",
        "/page/index.html%00",
        "/%00",
        "/pipe",
        "/null",
        "/a%20b.txt/",
        "/a%20b.txt/x",
        "/" + "x" * 300,
        "/" + "x/" * 3000,
    ],
)
async def test_nothing_else_is_served_by_any_trick(
    home: Path, tmp_path: Path, target: str
) -> None:
    (home / "out").symlink_to(tmp_path)
    (home / "out.txt").symlink_to(tmp_path / "secret.txt")
    (home / "null").symlink_to("/dev/null")
    (home / ".git").mkdir()
    (home / ".git" / "config").write_text("secret")
    (home / ".env").write_text("secret")
    os.mkfifo(home / "pipe")
    answer = await answer_of(home, f"/assets{target}", listing=True)
    assert answer.status in (400, 404)
    assert b"secret\n" not in answer.body
    assert answer.body != b"secret"


async def test_the_index_answers_for_its_folder(home: Path) -> None:
    answer = await answer_of(home, "/assets/page/")
    assert (answer.status, answer.text) == (200, PAGE)
    assert answer.field("content-type") == "text/html; charset=utf-8"
    own = await answer_of(home, "/assets/", index="a b.txt")
    assert own.text == "text"
    assert (await answer_of(home, "/assets/page/", index=None)).status == 404


async def test_a_folder_without_its_slash_redirects(home: Path) -> None:
    answer = await answer_of(home, "/assets/page?a=b")
    assert (answer.status, answer.field("location")) == (308, "/assets/page/?a=b")
    assert (await answer_of(home, "/assets/page", index=None)).status == 404
    (home / "index.html").write_text("top")
    answer = await answer_of(home, "/assets")
    assert (answer.status, answer.field("location")) == (308, "/assets/")


async def test_a_redirect_never_leads_to_another_host(home: Path) -> None:
    (home / "evil.example").mkdir()
    (home / "evil.example" / "index.html").write_text("x")
    for target in ("//evil.example", "/%2fevil.example", "/%5cevil.example"):
        assert (await answer_of(home, target, prefix="/")).status == 404


async def test_there_is_no_listing_unless_it_was_asked_for(home: Path) -> None:
    assert (await answer_of(home, "/assets/")).status == 404
    listing = await answer_of(home, "/assets/", listing=True)
    assert listing.status == 200
    assert '<a href="./a%20b.txt">' in listing.text
    assert '<a href="./page/">' in listing.text
    assert (await answer_of(home, "/assets/page/", listing=True)).text == PAGE
    (home / "empty").mkdir()
    redirect = await answer_of(home, "/assets/empty", listing=True)
    assert redirect.field("location") == "/assets/empty/"


@pytest.mark.parametrize("target", ["/assets/a%20b.txt", "/assets/page", "/assets/"])
async def test_another_method_is_405_where_something_is(
    home: Path, target: str
) -> None:
    answer = await answer_of(home, target, "POST", listing=True)
    assert (answer.status, answer.field("allow")) == (405, "GET, HEAD")


async def test_siblings_and_further_fields_are_sent(home: Path) -> None:
    (home / "page" / "index.html.gz").write_text("gz")
    answer = await answer_of(
        home,
        "/assets/page/",
        asked={"Accept-Encoding": "gzip"},
        headers={"Cache-Control": "no-cache"},
    )
    assert (answer.text, answer.field("content-encoding")) == ("gz", "gzip")
    assert answer.field("cache-control") == "no-cache"


def test_what_is_no_folder_or_no_prefix_is_refused(home: Path) -> None:
    with pytest.raises(io.ConfigurationError, match="is not a folder"):
        io.StaticServer("/", home / "a b.txt")
    with pytest.raises(io.ConfigurationError, match="expected '/'"):
        io.StaticServer("assets", home)


def test_it_says_what_it_serves(home: Path) -> None:
    assert repr(io.StaticServer("/a/", home)) == f"<StaticServer /a/ {home}>"


def test_options_by_name_have_the_types_of_their_arguments() -> None:
    arguments = inspect.signature(io.StaticServer).parameters.values()
    typed = {each.name: each.annotation for each in arguments}
    del typed["prefix"], typed["folder"]
    assert StaticOptions.__annotations__ == typed


def test_names_are_links_relative_to_the_folder() -> None:
    page = render_listing("/assets/", ["a b.txt", "folder/"]).decode()
    assert '<a href="./a%20b.txt">a b.txt</a>' in page
    assert '<a href="./folder/">folder/</a>' in page
    assert "<title>/assets/</title>" in page


def test_no_name_is_markup_or_a_scheme() -> None:
    name = '"><script>alert(1)</script>'
    page = render_listing("/<b>/", [name, "javascript:alert(1)"]).decode()
    assert "<script>" not in page
    assert "<b>" not in page
    assert 'href="./javascript%3Aalert%281%29"' in page
