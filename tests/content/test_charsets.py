import pytest

from blazeio.content.parsers import find_charset


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("ISO-8859-1", "iso8859-1"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "shift_jis"),
        ("koi8-r", "koi8-r"),
    ],
)
def test_what_browsers_know_is_known(label: str, name: str) -> None:
    assert find_charset(label) == name


@pytest.mark.parametrize(
    "label", ["", "klingon", "iso-8859-99", "utf-7", "punycode", "idna", "zlib", "hex"]
)
def test_what_is_slow_or_no_charset_is_not(label: str) -> None:
    assert find_charset(label) is None
