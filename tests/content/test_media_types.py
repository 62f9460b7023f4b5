import pytest

from blazeio.content.media_types import guess_media_type, is_compressible


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("/page/index.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.JSON", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.svg", "image/svg+xml"),
        ("a.webp", "image/webp"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
    ],
)
def test_the_last_suffix_decides(name: str, media_type: str) -> None:
    assert guess_media_type(name) == media_type


@pytest.mark.parametrize("name", ["", "a", "a.", "a.unknown", ".html", "a.html.br"])
def test_what_is_unknown_is_octets(name: str) -> None:
    assert guess_media_type(name) == "application/octet-stream"


@pytest.mark.parametrize("name", ["a.html", "a.js", "a.json", "a.svg", "a.wasm"])
def test_texts_and_their_like_are_worth_a_coding(name: str) -> None:
    assert is_compressible(guess_media_type(name))


@pytest.mark.parametrize("name", ["a.png", "a.woff2", "a.zip", "a.mp4", "a"])
def test_what_is_compressed_already_is_not(name: str) -> None:
    assert not is_compressible(guess_media_type(name))
