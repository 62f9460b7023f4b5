"""Further cases are in tests/conformance/test_rfc9112_6_* and _9_*."""

import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.wire.heads import (
    DecidingPairs,
    Directives,
    cached_directives,
    read_directives,
)

HOST = ("host", "h")
EXPECT = ("expect", "100-continue")


def shown(directives: Directives) -> dict[str, object]:
    return {name: getattr(directives, name) for name in Directives.__struct_fields__}


def test_what_no_field_decides() -> None:
    assert shown(read_directives((HOST,), 1)) == {
        "content_length": None,
        "expects_continue": False,
        "host": "h",
        "is_chunked": False,
        "is_persistent": True,
        "upgrade": None,
    }
    assert shown(read_directives((), 0)) == {
        "content_length": None,
        "expects_continue": False,
        "host": None,
        "is_chunked": False,
        "is_persistent": False,
        "upgrade": None,
    }


def test_what_all_fields_decide() -> None:
    pairs = (
        ("connection", "Keep-Alive"),
        ("upgrade", "a"),
        ("content-length", "5"),
        HOST,
        ("expect", "100-Continue"),
        ("connection", "Upgrade, x"),
        ("upgrade", "b"),
    )
    assert shown(read_directives(pairs, 1)) == {
        "content_length": 5,
        "expects_continue": True,
        "host": "h",
        "is_chunked": False,
        "is_persistent": True,
        "upgrade": "a, b",
    }


@pytest.mark.parametrize(
    ("pairs", "minor", "expected"),
    [
        ((HOST, ("content-length", "5"), EXPECT), 1, True),
        ((HOST, ("content-length", "5"), EXPECT), 0, False),
        ((HOST, ("content-length", "5")), 1, False),
        ((HOST, ("content-length", "0"), EXPECT), 1, False),
        ((HOST, ("transfer-encoding", "chunked")), 1, False),
        ((HOST, ("transfer-encoding", "chunked"), EXPECT), 1, True),
        ((HOST, EXPECT), 1, False),
    ],
)
def test_who_awaits_100_continue(
    pairs: DecidingPairs, minor: int, expected: bool
) -> None:
    assert read_directives(pairs, minor).expects_continue is expected


@pytest.mark.parametrize("value", ["close\xa0", "\x85close", "close\x85, x"])
def test_only_sp_and_htab_surround_an_option(value: str) -> None:
    assert read_directives((HOST, ("connection", value)), 1).is_persistent


@pytest.mark.parametrize(
    ("pairs", "minor", "status", "message"),
    [
        ((), 1, 400, "HTTP/1.1 request without Host"),
        ((HOST, HOST), 0, 400, "more than one Host"),
        (
            (HOST, ("content-length", "5"), ("transfer-encoding", "chunked")),
            1,
            400,
            "both Content-Length and Transfer-Encoding",
        ),
        ((HOST, ("expect", "x")), 1, 417, "unknown expectation 'x'"),
    ],
)
def test_the_error_says_what_is_wrong(
    pairs: DecidingPairs, minor: int, status: int, message: str
) -> None:
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            read_directives(pairs, minor)
        assert (str(caught.value), caught.value.status_hint) == (message, status)


def test_what_was_decided_is_kept_for_1_1_alone() -> None:
    cached_directives.clear()
    pairs = (HOST, ("connection", "close"))
    read_directives(pairs, 0)
    assert pairs not in cached_directives.recent
    decided = read_directives(pairs, 1)
    assert cached_directives.recent[pairs] is decided
    assert read_directives(pairs, 0) is not decided
    for number in range(256):  # it is of the former generation now
        read_directives((("host", str(number)),), 1)
    assert pairs not in cached_directives.recent
    assert read_directives(pairs, 0) is not decided


def test_what_long_values_decide_is_not_kept() -> None:
    cached_directives.clear()
    for size in (511, 512):
        read_directives((HOST, ("connection", "x" * size)), 1)
    assert [pairs[1][1] for pairs in cached_directives.recent] == ["x" * 511]


def test_what_was_decided_comes_back_from_the_former_generation() -> None:
    decided = read_directives((HOST,), 1)
    for number in range(256):
        read_directives((("host", str(number)),), 1)
    assert read_directives((HOST,), 1) is decided
    assert len(cached_directives) <= 512
