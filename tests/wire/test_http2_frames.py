"""The octets of each frame that we write, and the budget that others are paid from."""

from collections.abc import Callable

import pytest

from blazeio.wire.http2_frames import (
    Budget,
    ErrorCode,
    Http2ConnectionError,
    Setting,
    parse_settings,
    serialize_goaway,
    serialize_head,
    serialize_ping,
    serialize_reset,
    serialize_settings,
    serialize_window_update,
    strip_padding,
)

CANCEL, EIGHT = ErrorCode.CANCEL, b"12345678"


@pytest.mark.parametrize(
    ("write", "octets"),
    [
        (lambda: serialize_reset(1, CANCEL), "000004 03 00 00000001 00000008"),
        (lambda: serialize_window_update(5, 258), "000004 08 00 00000005 00000102"),
        (lambda: serialize_ping(EIGHT), f"000008 06 00 00000000 {EIGHT.hex()}"),
        (
            lambda: serialize_ping(EIGHT, is_ack=True),
            f"000008 06 01 00000000 {EIGHT.hex()}",
        ),
        (
            lambda: serialize_settings({Setting.MAX_FRAME_SIZE: 16_384}),
            "000006 04 00 00000000 000500004000",
        ),
        (
            lambda: serialize_settings(dict.fromkeys(Setting, 258)),
            "00002a 04 00 00000000 000100000102 000200000102 000300000102"
            "000400000102 000500000102 000600000102 000800000102",
        ),
        (
            lambda: serialize_goaway(3, ErrorCode.PROTOCOL_ERROR, "a\xe9"),
            "00000d 07 00 00000000 00000003 00000001 61 5c786539",
        ),
        (
            lambda: serialize_goaway(3, ErrorCode.NO_ERROR),
            "000008 07 00 00000000 00000003 00000000",
        ),
        (
            lambda: serialize_head(1, b"abc", 3, is_last=True),
            "000003 01 05 00000001 616263",
        ),
        (
            lambda: serialize_head(1, b"abc", 3, is_last=False),
            "000003 01 04 00000001 616263",
        ),
        (
            lambda: serialize_head(1, b"abcdefg", 3, is_last=True),
            "000003 01 01 00000001 616263 000003 09 00 00000001 646566"
            "000001 09 04 00000001 67",
        ),
        (
            lambda: serialize_head(1, b"abcdef", 3, is_last=False),
            "000003 01 00 00000001 616263 000003 09 04 00000001 646566",
        ),
    ],
)
def test_octets(write: Callable[[], bytes], octets: str) -> None:
    assert write() == bytes.fromhex(octets)


def test_a_reason_fits_into_half_a_frame() -> None:
    assert len(serialize_goaway(1, ErrorCode.NO_ERROR, "a" * 9000)) == 9 + 8 + 8192


def test_pairs_of_settings_are_read_in_order() -> None:
    octets = bytes.fromhex("000400000102 fff0ffffffff")
    assert parse_settings(octets) == [(4, 258), (0xFFF0, 0xFFFFFFFF)]
    assert parse_settings(b"") == []
    assert len(parse_settings(octets * 16)) == 32


@pytest.mark.parametrize(
    ("payload", "content"),
    [(b"\0", b""), (b"\0ab", b"ab"), (b"\x02ab\0\0", b"ab"), (b"\x02\0\0", b"")],
)
def test_padding_is_taken_off(payload: bytes, content: bytes) -> None:
    assert strip_padding(payload) == content


def count(budget: Budget, now: float) -> int:
    """How many can be paid at once."""
    paid = 0
    error: Http2ConnectionError | None = None
    while error is None:
        try:
            budget.spend(now)
            paid += 1
        except Http2ConnectionError as fault:
            error = fault
    assert (str(error), error.code) == ("too many frames", ErrorCode.ENHANCE_YOUR_CALM)
    return paid


def test_a_budget_begins_full() -> None:
    assert count(Budget("frames", 5, 1.0), 100.0) == 5


def test_a_budget_refills_with_the_seconds_up_to_what_it_holds() -> None:
    budget = Budget("frames", 5, 2.0)
    for _ in range(5):
        budget.spend(100.0)
    budget.spend(101.0)
    assert count(budget, 101.0) == 1
    budget = Budget("frames", 5, 2.0)
    budget.spend(100.0)
    assert count(budget, 1000.0) == 5


def test_what_is_earned_is_paid_back() -> None:
    budget = Budget("frames", 5, 0.0)
    budget.earn()  # it is full
    for _ in range(4):
        budget.spend(100.0)
    budget.earn()
    budget.earn(2)
    assert count(budget, 100.0) == 4
