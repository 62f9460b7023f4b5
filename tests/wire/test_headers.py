import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.wire.grammar import parse_field_line
from blazeio.wire.headers import Headers


def make() -> Headers:
    return Headers(
        [
            ("host", "h"),
            ("accept", "a"),
            ("cookie", "x=1"),
            ("accept", "b"),
            ("cookie", "y=2"),
            ("set-cookie", "p=1"),
            ("set-cookie", "q=2"),
        ]
    )


@pytest.mark.parametrize("name", ["accept", "Accept", "ACCEPT"])
def test_names_match_in_any_case(name: str) -> None:
    headers = make()
    assert headers[name] == "a, b"
    assert headers.get(name) == "a, b"
    assert name in headers
    assert headers.get_all(name) == ["a", "b"]


@pytest.mark.parametrize("look_up_first", [True, False])
def test_an_absent_name(look_up_first: bool) -> None:
    headers = make()
    if look_up_first:
        assert headers["host"] == "h"
    assert headers.get("x") is None
    assert headers.get("x", "y") == "y"
    assert headers.get_all("x") == []
    assert "x" not in headers
    assert object() not in headers
    with pytest.raises(KeyError, match="x"):
        headers["X"]


def test_the_first_look_up_may_be_of_any_kind() -> None:
    assert make()["host"] == "h"
    assert make().get("host") == "h"
    assert "host" in make()
    assert list(make()) == ["host", "accept", "cookie", "set-cookie"]
    assert len(make()) == 4


def test_cookies_are_joined_by_semicolons() -> None:
    assert make()["Cookie"] == "x=1; y=2"


def test_set_cookie_is_read_with_get_all() -> None:
    assert make().get_all("Set-Cookie") == ["p=1", "q=2"]


def test_pairs_keep_order_and_repeats() -> None:
    assert [name for name, _ in make().pairs] == [
        *("host", "accept", "cookie", "accept", "cookie", "set-cookie", "set-cookie")
    ]


def test_what_is_done_to_pairs_does_not_reach_the_fields() -> None:
    headers = make()
    headers.pairs.clear()
    assert len(headers.pairs) == 7


def test_it_equals_a_mapping_with_the_same_combined_values() -> None:
    headers = Headers([("a", "1"), ("b", "2")])
    assert headers == {"a": "1", "b": "2"}
    assert headers == Headers([("b", "2"), ("a", "1")])
    assert headers != {"a": "1"}


def test_repr_shows_every_field() -> None:
    assert repr(Headers([("a", "1")])) == "Headers([('a', '1')])"


def test_no_field_can_be_set() -> None:
    headers = make()
    with pytest.raises(TypeError):
        headers["a"] = "b"  # type: ignore[index]
    with pytest.raises(AttributeError, match="headers cannot be changed: other"):
        headers.other = 1
    with pytest.raises(AttributeError, match="headers cannot be changed: _pairs"):
        del headers._pairs


def test_pairs_are_read_without_a_copy() -> None:
    assert list(make().iter_pairs()) == make().pairs == list(make().as_tuple())


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"a: \t b\t ", "b"),
        (b"a:XbX", "XbX"),
        (b"a:\xa0b\x85", "\xa0b\x85"),  # blanks to Python, not to RFC 9110
        (b"a:b\tc", "b\tc"),
        (b"a:b\xff", "b\xff"),
        (b"a:", ""),
    ],
)
def test_a_value_is_stripped_of_sp_and_htab_alone(line: bytes, value: str) -> None:
    assert parse_field_line(line) == ("a", value)


@pytest.mark.parametrize("size", [1, 64])
def test_a_name_is_read_once(size: int) -> None:
    raw = b"Z" * size + b": 1"
    name = parse_field_line(raw)[0]
    assert name == "z" * size
    assert parse_field_line(raw)[0] is name
    for number in range(512):  # so that it is of the former generation
        parse_field_line(b"z-%d: 1" % number)
    assert parse_field_line(raw)[0] is name


def test_a_long_name_is_not_kept() -> None:
    raw = b"Z" * 65 + b": 1"
    assert parse_field_line(raw)[0] is not parse_field_line(raw)[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b" a: b", "a line folded or begun by whitespace (obs-fold)"),
        (b"\ta: b", "a line folded or begun by whitespace (obs-fold)"),
        (b"a" * 32, f"field line without a colon: b'{'a' * 32}'"),
        (b"a" * 33, f"field line without a colon: b'{'a' * 32}'..."),
        (b"a : b", "whitespace before the colon of field 'a '"),
        (b"a\t: b", "whitespace before the colon of field 'a\\t'"),
        (b"a\xa0: b", "malformed field name 'a\\xa0'"),
        (b"a{X: b", "malformed field name 'a{X'"),
        (b"a: \0", "control octet in the value of field 'a'"),
    ],
)
def test_a_malformed_line_is_told_without_its_value(line: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_field_line(line)
    assert (str(caught.value), caught.value.status_hint) == (message, 400)


def test_no_fields_are_false() -> None:
    assert not Headers([])
    assert Headers([]).get("a") is None


@pytest.mark.parametrize(
    "pairs", [[("a", "1"), ("b", "2")], [("a", "1"), ("a", "2")], []]
)
def test_the_index_is_that_of_the_mapping(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(pairs)
    assert headers.index() == dict(headers)
    assert headers.index() is headers.index()
