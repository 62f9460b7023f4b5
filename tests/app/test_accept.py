import pytest

from blazeio.content.field_values import choose_media_type

AVAILABLE = ("text/plain", "application/json", "text/html")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "text/plain"),
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("application/json", "application/json"),
        ("Application/JSON", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("application/*", "application/json"),
        ("text/*", "text/plain"),
        ("text/*, text/plain;q=0.1", "text/html"),
        ("application/json;q=0.5, text/html;q=0.6", "text/html"),
        (
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/html",
        ),
        ("*/*, text/plain;q=0", "application/json"),
        ("image/png", "text/plain"),
        ("application/json;q=0", "text/plain"),
        ("application/json;q=nonsense, text/html;q=0.9", "application/json"),
        (",;,/,application/json", "application/json"),
    ],
)
def test_the_type_that_is_liked_best_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, AVAILABLE) == chosen


def test_a_long_field_is_read_in_time_that_grows_with_it() -> None:
    accept = "a/b" + ";x" * 20_000 + " ," * 20_000
    assert choose_media_type(accept, AVAILABLE) == "text/plain"
