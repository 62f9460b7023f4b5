"""The site is built without a warning, and its pages ask no other host."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.tree import REPOSITORY

LOADS = {"link": "href", "script": "src", "img": "src", "iframe": "src"}


class Loaded(HTMLParser):
    """Collects what a page loads when it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        url = dict(attrs).get(LOADS.get(tag, ""))
        if url:
            self.urls.append(url)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("mkdocs"), "build", "--quiet", "--strict"),
            *("--config-file", REPOSITORY / "docs/site/mkdocs.yml"),
            *("--site-dir", folder),
        ],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


@pytest.mark.long
@pytest.mark.timeout(180)
def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert [url for url in loaded.urls if re.match(r"(https?:)?//", url)] == []
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert not any(re.search(r"url\(['\"]?https?:", text) for text in styles)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_each_public_name_has_its_docstring_in_the_reference(site: Path) -> None:
    pages = [path.read_text() for path in site.glob("reference/python-*.html")]
    for name in ("App", "Deliver", "Abort", "Session", "Limits", "WebSocket"):
        assert any(re.search(rf'id="blazeio[\w.]*\.{name}"', text) for text in pages)
