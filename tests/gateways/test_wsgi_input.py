import io

import pytest

from blazeio.gateways.pep3333 import BodyReader

CONTENT = b"one\ntwo\n\nlonger line\nlast"
SPLITS = [[CONTENT], [bytes([each]) for each in CONTENT], [CONTENT[:5], CONTENT[5:]]]


def open_body(pieces: list[bytes]) -> BodyReader:
    left = list(pieces)
    return BodyReader(lambda: left.pop(0) if left else b"")


@pytest.mark.parametrize("pieces", SPLITS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_it_reads_as_a_file_does(pieces: list[bytes], size: int) -> None:
    for method in ("read", "readline"):
        body, file = open_body(pieces), io.BytesIO(CONTENT)
        while True:
            expected = getattr(file, method)(size)
            assert getattr(body, method)(size) == expected
            if not expected:
                break
        assert body.read() == b""


@pytest.mark.parametrize("pieces", SPLITS)
@pytest.mark.parametrize("size", [(), (None,), (-1,)])
def test_without_a_size_it_reads_to_the_end(
    pieces: list[bytes], size: tuple[int | None, ...]
) -> None:
    assert open_body(pieces).read(*size) == CONTENT
    assert open_body(pieces).readline(*size) == b"one\n"
    assert open_body(pieces).readlines(*size) == io.BytesIO(CONTENT).readlines()


@pytest.mark.parametrize("pieces", SPLITS)
def test_it_is_iterated_over_by_lines(pieces: list[bytes]) -> None:
    assert list(open_body(pieces)) == list(io.BytesIO(CONTENT))


@pytest.mark.parametrize("pieces", SPLITS)
def test_a_hint_bounds_the_lines(pieces: list[bytes]) -> None:
    for hint in (1, 4, 5, 9):
        expected = io.BytesIO(CONTENT).readlines(hint)
        assert open_body(pieces).readlines(hint) == expected


@pytest.mark.parametrize("pieces", SPLITS)
def test_the_ways_of_reading_may_be_mixed(pieces: list[bytes]) -> None:
    body = open_body(pieces)
    assert body.readline() == b"one\n"
    assert body.read(2) == b"tw"
    assert body.readline(1) == b"o"
    assert body.readline() == b"\n"
    assert body.read(0) == body.readline(0) == b""
    assert body.read() == b"\nlonger line\nlast"


def test_no_more_is_waited_for_than_is_needed() -> None:
    pulled: list[int] = []

    def pull() -> bytes:
        pulled.append(1)
        return b"abc\n"

    body = BodyReader(pull)
    assert body.read(2) == b"ab"
    assert body.readline() == b"c\n"
    assert len(pulled) == 1


def test_what_ends_it_comes_through() -> None:
    def pull() -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        BodyReader(pull).read(1)
