import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.wire.heads import decide_response


@pytest.mark.parametrize(
    ("pairs", "minor", "expected"),
    [
        ([], 1, True),
        ([], 0, False),
        ([("connection", "keep-alive")], 0, True),
        ([("connection", "Close, x")], 1, False),
        ([("connection", "keep-alive"), ("connection", "close")], 1, False),
    ],
)
def test_persistence(pairs: list[tuple[str, str]], minor: int, expected: bool) -> None:
    assert decide_response(tuple(pairs), minor).is_persistent is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("timeout=5", 5),
        ("max=100, Timeout = 75", 75),
        ("timeout=-1", None),
        ("5", None),
        ("timeout=99999999", None),
    ],
)
def test_keep_alive_says_how_long(value: str, expected: int | None) -> None:
    assert decide_response((("keep-alive", value),), 1).keep_alive_s == expected


def test_an_upgrade_needs_its_connection_option() -> None:
    upgrade = ("upgrade", "websocket")
    assert decide_response((upgrade,), 1).upgrade is None
    pairs = (upgrade, ("connection", "Upgrade"))
    assert decide_response(pairs, 1).upgrade == "websocket"
    assert decide_response(pairs, 0).upgrade is None
    assert decide_response((("upgrade", "h2c"), *pairs), 1).upgrade == "h2c, websocket"


@pytest.mark.parametrize(
    "pairs",
    [
        [("content-length", "5"), ("content-length", "5")],
        [("content-length", "5"), ("transfer-encoding", "chunked")],
        [("content-length", "5, 5")],
        [("transfer-encoding", "gzip")],
        [("transfer-encoding", "gzip, chunked")],
    ],
)
def test_framing_that_could_be_read_in_two_ways_is_refused(
    pairs: list[tuple[str, str]],
) -> None:
    with pytest.raises(RemoteProtocolError):
        decide_response(tuple(pairs), 1)
