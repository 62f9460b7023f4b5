"""``Templates``: pages by Jinja2."""

import asyncio
from pathlib import Path

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Templates
from blazeio.errors import ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.served import served

R = BlazeioServerProtocol


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.html").write_text(
        "<h1>{{ site }}</h1>{% block main %}{% endblock %}"
    )
    (tmp_path / "page.html").write_text(
        "{% extends 'base.html' %}{% block main %}"
        "{{ word }} {{ url_for('page', word='a b') }} {{ r.method }}"
        "{% endblock %}"
    )
    (tmp_path / "plain.txt").write_text("{{ word }} {{ later() }}")
    (tmp_path / "broken.html").write_text("{{ 1 / 0 }}")
    return tmp_path


async def test_a_page_is_rendered_and_escaped(folder: Path) -> None:
    web, templates = App(), Templates(folder, site="<Site>")

    @web.route.get("/page/{word}")
    async def page(r: R, word: str) -> None:
        await templates.render(r, "page.html", word=word, status=202)

    @web.route.get("/broken")
    async def broken(r: R) -> None:
        await templates.render(r, "broken.html")

    @web.route.get("/missing")
    async def missing(r: R) -> None:
        await templates.render(r, "../page.html")

    async with served(web) as site:
        answer = await site.get("/page/%3Cb%3E")
        assert answer.status == 202
        assert answer.field("content-type") == "text/html; charset=utf-8"
        expected = "<h1>&lt;Site&gt;</h1>&lt;b&gt; /page/a%20b GET"
        assert answer.text == expected
        assert (await site.get("/broken")).status == 500
        assert (await site.get("/missing")).status == 500


async def test_text_is_escaped_too_and_coroutines_are_awaited(folder: Path) -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return "&"

    templates = Templates([folder])
    assert await templates.text("plain.txt", word="<", later=later) == "&lt; &amp;"


@pytest.mark.parametrize("auto_reload", [False, True])
async def test_a_changed_file_is_seen_where_that_is_wanted(
    folder: Path, auto_reload: bool
) -> None:
    templates = Templates(folder, auto_reload=auto_reload)
    file = folder / "own.html"
    file.write_text("old")
    assert await templates.text("own.html") == "old"
    file.write_text("newer")
    expected = "newer" if auto_reload else "old"
    assert await templates.text("own.html") == expected


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        Templates(tmp_path / "none")


def test_a_missing_package_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ConfigurationError, match=r"pip install jinja2$"):
        Templates(tmp_path)
