import pytest

from blazeio.app.endpoints import (
    CONVERTERS,
    Parameter,
    check_root_path,
    parse_pattern,
    parse_prefix,
)
from blazeio.errors import ConfigurationError


def test_a_path_without_parameters_is_exact() -> None:
    pattern = parse_pattern("/api/ip")
    assert (pattern.segments, pattern.names) == (("api", "ip"), ())
    assert pattern.ranks < parse_pattern("/api/{ip:int}").ranks


def test_a_parameter_has_a_name_and_a_kind() -> None:
    pattern = parse_pattern("/a/{b}/{c:int}/{d:path}")
    assert pattern.names == ("b", "c", "d")
    assert pattern.segments == (
        "a",
        Parameter("b", CONVERTERS["str"]),
        Parameter("c", CONVERTERS["int"]),
        Parameter("d", CONVERTERS["path"]),
    )


@pytest.mark.parametrize("path", ["", "x", "/x?y", "/x#y", "/\n", "*"])
def test_a_path_that_no_request_has_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="expected '/' and a path"):
        parse_pattern(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (
            "/{a}.json",
            "'{a}.json' is not a parameter; it is a whole segment, {name} or",
        ),
        ("/x{a}", "'x{a}' is not a parameter"),
        ("/{a", "'{a' is not a parameter"),
        ("/a}", "'a}' is not a parameter"),
        ("/{}", "'{}' is not a parameter"),
        ("/{:int}", "'{:int}' is not a parameter"),
        ("/{a-b}", "'{a-b}' is not a parameter"),
        ("/{{a}}", "'{{a}}' is not a parameter"),
        ("/{a}/{a:int}", "two parameters of one name"),
        ("/{a:integer}", "no kind of parameter is 'integer'; did you mean int?"),
        ("/{a:date}", "no kind of parameter is 'date'; known: int, uuid, float, str"),
        ("/{a:path}/b", "a parameter of kind path is the last segment"),
    ],
)
def test_what_is_no_parameter_is_refused_with_the_remedy(
    path: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_pattern(path)
    assert str(raised.value).startswith(f"route {path!r}: ")
    assert reason in str(raised.value)


def test_a_pattern_stands_below_a_prefix() -> None:
    below = parse_pattern("/{id}").under(parse_prefix("/{tenant}/api"))
    assert below == parse_pattern("/{tenant}/api/{id}")
    with pytest.raises(ConfigurationError, match="two parameters of one name"):
        parse_pattern("/{id}").under(parse_prefix("/{id}"))


@pytest.mark.parametrize("path", ["/", "/api/", "/{rest:path}"])
def test_what_nothing_can_stand_below_is_no_prefix(path: str) -> None:
    with pytest.raises(ConfigurationError, match="no '/' at its end"):
        parse_prefix(path)


@pytest.mark.parametrize(
    ("path", "is_covered"),
    [
        ("/t/7", True),
        ("/t/7/", True),
        ("/t/7/x/y", True),
        ("/t/x", False),
        ("/t", False),
        ("/s/7", False),
        ("/t/77x", False),
    ],
)
def test_a_prefix_covers_itself_and_what_is_below(path: str, is_covered: bool) -> None:
    assert parse_prefix("/t/{n:int}").covers(path.split("/")[1:]) is is_covered


@pytest.mark.parametrize("text", ["", "/api", "/a/b"])
def test_a_root_path_may_be(text: str) -> None:
    assert check_root_path(text) == text


@pytest.mark.parametrize("text", ["api", "/", "/api/", "/a?b", "/a b"])
def test_a_root_path_may_not_be(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a path such as '/api'"):
        check_root_path(text)
