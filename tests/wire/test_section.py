import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.grammar import cached_lines
from blazeio.wire.heads import cached_sections, read_header_section

LIMITS = Limits()


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    cached_lines.clear()
    cached_sections.clear()


def test_a_section_is_kept_once_each_of_its_lines_was_seen() -> None:
    octets = b"Host: h\r\nAccept: a"
    first = read_header_section(octets, 1, LIMITS)
    assert octets not in cached_sections.recent
    second = read_header_section(octets, 1, LIMITS)
    assert octets in cached_sections.recent
    assert second is not first
    assert second.headers == first.headers
    assert second.directives is first.directives


def test_a_section_with_a_secret_is_never_kept() -> None:
    octets = b"Host: h\r\nCookie: a=b"
    for _ in range(3):
        read_header_section(octets, 1, LIMITS)
    assert not cached_sections.recent


def test_a_long_section_is_not_kept() -> None:
    line = b"\r\nAccept: " + b"a" * 240
    for _ in range(3):
        read_header_section(b"Host: h" + line * 4, 1, LIMITS)
        read_header_section(b"Host: h" + line * 5, 1, LIMITS)
    assert list(cached_sections.recent) == [b"Host: h" + line * 4]


def test_what_was_kept_under_other_limits_is_judged_anew() -> None:
    octets = b"Host: h\r\nAccept: a\r\nAccept: a"
    for _ in range(2):
        read_header_section(octets, 1, LIMITS)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="3 fields, at most 2 are read"):
            read_header_section(octets, 1, Limits(field_count=2))
    assert read_header_section(octets, 1, LIMITS).headers["accept"] == "a, a"


def test_what_was_kept_for_1_1_does_not_count_for_1_0() -> None:
    octets = b"Host: h\r\nConnection: upgrade\r\nUpgrade: x"
    for _ in range(3):
        assert read_header_section(octets, 1, LIMITS).directives.upgrade == "x"
        assert read_header_section(octets, 0, LIMITS).directives.upgrade is None


def test_a_section_in_use_is_found_among_endless_others() -> None:
    used = b"Host: h\r\nAccept: used"
    for _ in range(2):
        read_header_section(used, 1, LIMITS)
    kept = cached_sections.recent[used]
    for number in range(2_000):
        for _ in range(2):
            read_header_section(b"Host: h\r\nAccept: %d" % number, 1, LIMITS)
        if number % 100 == 0:
            again = cached_sections.recent.get(used) or cached_sections.recall(used)
            assert again is kept
    assert len(cached_sections) <= 512


def test_a_section_of_the_former_generation_is_taken_as_it_is() -> None:
    used = b"Host: h\r\nAccept: used"
    for _ in range(2):
        read_header_section(used, 1, LIMITS)
    kept = cached_sections.recent[used]
    for number in range(256):
        cached_sections.keep(b"%d" % number, kept)
    assert used not in cached_sections.recent
    assert read_header_section(used, 1, LIMITS) is kept


def test_no_fields_at_all() -> None:
    section = read_header_section(b"", 0, LIMITS)
    assert section.headers.pairs == []
    with pytest.raises(RemoteProtocolError, match="without Host"):
        read_header_section(b"", 1, LIMITS)


@pytest.mark.parametrize("count", [99, 100, 101])
def test_field_count_is_inclusive(count: int) -> None:
    octets = b"\r\n".join([b"Host: h", *[b"A: b"] * (count - 1)])
    if count <= 100:
        assert len(read_header_section(octets, 1, LIMITS).headers.pairs) == count
        return
    with pytest.raises(RemoteProtocolError, match="101 fields") as caught:
        read_header_section(octets, 1, LIMITS)
    assert caught.value.status_hint == 431


@pytest.mark.parametrize("size", [99, 100, 101])
def test_field_bytes_is_inclusive(size: int) -> None:
    limits = Limits(field_bytes=100)
    octets = b"Host: h\r\n" + b"A: ".ljust(size, b"a") + b"\r\nB: c"
    if size <= 100:
        assert read_header_section(octets, 1, limits).headers["b"] == "c"
        return
    with pytest.raises(RemoteProtocolError, match="line of 101 octets") as caught:
        read_header_section(octets, 1, limits)
    assert caught.value.status_hint == 431
