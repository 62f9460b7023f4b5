import pytest

from blazeio.content.field_values import (
    choose_media_type,
    guess_media_type,
    is_compressible,
)


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


TYPES = ["text/html", "application/json", "text/plain"]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("Application/JSON", "application/json"),
        ("text/*", "text/html"),
        ("text/*, text/html;q=0.5", "text/plain"),
        ("text/html;q=0, */*", "application/json"),
        ("text/*;q=0, */*;q=0.1", "application/json"),
        (
            "text/html;q=0.2, application/json;q=0.4, text/plain;q=0.3",
            "application/json",
        ),
        ("text/html; Q=0.2,application/json", "application/json"),
        ("application/json;charset=utf-8;q=0.5, text/plain;q=0.6", "text/plain"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("application/json;level=1, text/html;q=0.9", "application/json"),
        ("image/png", "text/html"),  # none of them: the first
        ("application/json;q=0", "text/html"),
        ("", "text/html"),
        ("nonsense, application/json;q=0.1", "application/json"),
        ("application/json;q=1.000, text/html;q=0.999", "application/json"),
        ("application/json;q=0.001", "application/json"),
        ("application/json, text/html;q=1", "text/html"),
    ],
)
def test_the_type_that_the_client_prefers(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, TYPES) == chosen


def test_equal_weights_leave_the_choice_to_the_order() -> None:
    assert choose_media_type("text/plain, application/json", TYPES) == TYPES[1]
    assert choose_media_type("*/*;q=0.5", TYPES[::-1]) == "text/plain"
    assert choose_media_type("image/png;q=0.5", ["a/b"]) == "a/b"
