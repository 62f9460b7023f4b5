import pytest

from blazeio.content.representation import (
    Validators,
    is_etag,
    is_strongly_equal,
    is_weakly_equal,
    make_etag,
    parse_etags,
)


def test_a_file_has_a_strong_tag_of_its_time_and_size() -> None:
    assert make_etag(0x1234, 0x4000) == '"1234-4000"'
    assert make_etag(0x1234, 0x4000, "br") == '"1234-4000-br"'


def test_last_modified_is_an_http_date() -> None:
    assert Validators('"a"', 784111777).last_modified == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_tags_compare_as_in_the_table_of_rfc_9110_section_8_8_3_2(
    one: str, other: str, strong: bool, weak: bool
) -> None:
    assert is_strongly_equal(one, other) is strong
    assert is_weakly_equal(one, other) is weak


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ('"a"', ['"a"']),
        ('"a", W/"b" ,"c"', ['"a"', 'W/"b"', '"c"']),
        ('"a,b"', ['"a,b"']),
        (',, "a",', ['"a"']),
        ('""', ['""']),
        ("nope", []),
        ('"open', []),
        ("", []),
    ],
)
def test_a_list_of_tags_is_read(value: str, tags: list[str]) -> None:
    assert parse_etags(value) == tags


def test_one_tag_is_told_from_a_date_and_from_a_list() -> None:
    assert is_etag('W/"a"')
    assert not is_etag("Sun, 06 Nov 1994 08:49:37 GMT")
    assert not is_etag('"a", "b"')
