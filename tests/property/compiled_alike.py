"""Compiled or not, ``wire`` reads any octets alike, and refuses with the same words.

This process has the compiled code; what is not compiled is asked in a process of its
own, ``python -m tests.property.compiled_alike``. Both are asked the same in the same
order, since much is answered from caches. Not collected by name: it is run by
``tests/test_compiled_wheel.py``.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blazeio.errors import BlazeioError
from blazeio.limits import Limits
from blazeio.wire import IS_COMPILED
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.heads import parse_response_head
from blazeio.wire.hpack import HeaderDecoder
from blazeio.wire.proxy_protocol import parse_proxy_header
from blazeio.wire.request import RequestHead, parse_head, parse_whole
from tests.property.wire_octets import nearly_good
from tests.wire.http2_talk import Talk

LIMITS = Limits(head_bytes=4096, field_bytes=1000, field_count=20, streams=20)
BROWSER = b"".join(b"X-Field-%d: of a browser's length\r\n" % n for n in range(9))


def show_head(head: RequestHead | None) -> object:
    if head is None:
        return None
    names = head.__struct_fields__
    return [(name, getattr(head, name)) for name in names if name != "limits"]


def see_request(octets: bytes) -> object:
    def at(start: int) -> str:
        return attempt(lambda: show_head(parse_head(octets, LIMITS, start)))

    starts = range(0, len(octets), max(len(octets) // 3, 1))
    whole = attempt(lambda: show_head(parse_whole(octets, LIMITS)))
    return whole, [at(start) for start in starts]


def see_response(octets: bytes) -> object:
    head = parse_response_head(octets, LIMITS)
    return None if head is None else (head, head.headers, head.content_length)


def see_chunks(octets: bytes) -> object:
    decoder = ChunkDecoder(LIMITS, unfolds=len(octets) % 2 == 0)
    pieces: list[bytes] = []
    at = 0
    for end in (len(octets) // 2, len(octets)):
        at = decoder.decode(octets[:end], at, pieces, 5)
    return at, pieces, decoder.is_complete, decoder.content_bytes, decoder.trailers


def see_block(octets: bytes) -> object:
    decoder = HeaderDecoder(4096)
    return [decoder.decode(octets), decoder.decode(octets), decoder.version]


def see_http2(octets: bytes) -> object:
    talk = Talk(LIMITS)
    with contextlib.suppress(BlazeioError):
        talk.send(octets[: len(octets) // 2], octets[len(octets) // 2 :])
    requests = [
        (number, show_head(each.head), str(each.refusal), each.content, each.reset_for)
        for number, each in talk.requests.items()
    ]
    return requests, talk.failure, talk.take()


KINDS: dict[str, Callable[[bytes], object]] = {
    "request": see_request,
    "response": see_response,
    "chunks": see_chunks,
    "proxy": parse_proxy_header,
    "block": see_block,
    "http2": see_http2,
}


def judge(kind: str, octets: bytes) -> str:
    """What comes of octets, or how they are refused."""
    return attempt(lambda: KINDS[kind](octets))


def attempt(see: Callable[[], object]) -> str:
    try:
        return repr(see())
    except Exception as error:
        hint = getattr(error, "status_hint", ""), getattr(error, "code", "")
        return f"{type(error).__name__} {error} {hint}"


def main() -> None:
    for line in sys.stdin:
        kind, octets = json.loads(line)
        print(json.dumps(judge(kind, bytes.fromhex(octets))), flush=True)


class PureProcess:
    """The code that is not compiled."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.property.compiled_alike"],
            env={**os.environ, "BLAZEIO_PURE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def judge(self, kind: str, octets: bytes) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([kind, octets.hex()]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def pure() -> Iterator[PureProcess]:
    assert IS_COMPILED
    process = PureProcess()
    yield process
    process.close()


PRIVATE = [b"Cookie: a=b\r\n", b"Authorization: Bearer x\r\n", b"Referer: /\r\n"]
TARGETS = [b"/", b"/?a", b"*", b"/%41?b=c", b"//h", b"http://h/", b"", b"?"]


@st.composite
def browsers(draw: st.DrawFn) -> bytes:
    """A long head with private lines, and a few octets that are anywhere."""
    private = draw(st.lists(st.sampled_from(PRIVATE), max_size=2))
    lines = draw(st.permutations([b"Host: h\r\n", BROWSER, *private]))
    line = b"GET %b HTTP/1.1\r\n" % draw(st.sampled_from(TARGETS))
    octets = line + b"".join(lines) + b"\r\n"
    if draw(st.booleans()):
        at = draw(st.integers(0, 40) | st.integers(0, len(octets)))
        cut = draw(st.sampled_from([0, 1, 2, at]))
        octets = octets[: at - cut if cut <= at else 0] + octets[at:]
    return octets


octets_of = {
    "request": nearly_good() | browsers(),
    "response": nearly_good().map(lambda each: b"HTTP/1.1 200 OK\r\n" + each),
    "chunks": nearly_good() | st.binary(max_size=60),
    "proxy": st.binary(max_size=40).map(b"\r\n\r\n\0\r\nQUIT\n".__add__)
    | st.binary(max_size=80).map(b"PROXY TCP4 ".__add__),
    "block": st.binary(max_size=60),
}


@pytest.mark.parametrize("kind", octets_of)
@pytest.mark.timeout(300)
def test_any_octets_are_read_alike(pure: PureProcess, kind: str) -> None:
    @settings(
        max_examples=600,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(octets_of[kind])
    def alike(octets: bytes) -> None:
        for _ in range(2):  # the second time of a cache
            assert judge(kind, octets) == pure.judge(kind, octets)

    alike()


@pytest.mark.timeout(300)
def test_any_frames_are_read_alike(pure: PureProcess) -> None:
    fuzz = pytest.importorskip("tests.fuzz.http2")
    chance = random.Random(19)
    for _ in range(600):
        parts = chance.choices(fuzz.FRAMES, k=chance.randint(1, 8))
        octets = bytearray(b"".join(parts))
        for _ in range(chance.choice([0, 0, 1, 3])):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        seen = bytes(octets)
        assert judge("http2", seen) == pure.judge("http2", seen), seen


if __name__ == "__main__":
    main()
