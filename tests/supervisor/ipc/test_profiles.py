"""The master's side of a profile, with a worker that says what it likes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from blazeio_supervisor.ipc import inspection as module
from blazeio_supervisor.ipc.inspection import follow_profile
from blazeio_supervisor.ipc.status_api import (
    ANSWER_BYTES,
    STACK_COUNT,
    Profiled,
    ProfileWish,
    Sampled,
    parse_profile,
)
from blazeio_supervisor.worker.profiler import receive_wish

WISH = ProfileWish(0.2)


class Talk:
    """A worker that was ordered a profile.

    Attributes:
        asker: The master's end.
        theirs: The worker's end.
        sock: Where the answer goes, once it was ordered.
    """

    def __init__(self) -> None:
        self.asker, self.theirs = socket.socketpair()
        self.sock: socket.socket | None = None
        self.wish: ProfileWish | None = None

    def answer(self, *octets: bytes, ends: bool = False) -> Callable[[], None]:
        def signal_it() -> None:
            received = receive_wish(self.theirs)
            assert received is not None
            self.wish, self.sock = received
            for each in octets:
                self.sock.sendall(each)
            if ends:
                self.sock.close()

        return signal_it

    async def collect(self, signal_it: Callable[[], None]) -> list[Sampled | Profiled]:
        return [said async for said in follow_profile(self.asker, WISH, signal_it)]

    def close(self) -> None:
        for sock in (self.asker, self.theirs, self.sock):
            if sock is not None:
                sock.close()


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    talk = Talk()
    yield talk
    talk.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLACK_S", 0.0)
    monkeypatch.setattr(module, "PROGRESS_EVERY_S", 0.05)


async def test_what_is_sampled_comes_before_the_profile(talk: Talk) -> None:
    lines = b'{"type":"sampled","samples":3}\n{"type":"profiled","samples":9,'
    rest = b'"names":["a"],"stacks":[[[0,0],9]]}\n'
    said = await talk.collect(talk.answer(lines, rest))
    assert said[-1] == Profiled(9, names=["a"], stacks=[([0, 0], 9)])
    assert all(each == Sampled(3) for each in said[:-1])
    assert talk.wish == WISH


@pytest.mark.usefixtures("_impatient")
async def test_who_says_nothing_is_not_waited_for(talk: Talk) -> None:
    *looks, last = await talk.collect(talk.answer())
    assert isinstance(last, Profiled)
    assert "it does not answer" in last.failure
    assert Sampled(0) in looks


HOSTILE = [
    b"no json\n",
    b"[]\n",
    b'{"type":"other"}\n',
    b'{"type":"profiled","names":["a"],"stacks":[[[1],1]]}\n',
    b'{"type":"profiled","names":["a"],"stacks":[[[-1],1]]}\n',
    b'{"type":"profiled","names":["%s"]}\n' % (b"x" * 500),
    b'{"type":"profiled","stacks":[%s]}\n' % b",".join([b"[[],1]"] * (STACK_COUNT + 2)),
    b"[" * 100_000 + b"\n",
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
async def test_what_is_no_profile_is_a_failure(talk: Talk, line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_profile(line.strip())
    said = await talk.collect(talk.answer(line))
    assert isinstance(said[-1], Profiled)
    assert "what it sent is no profile" in said[-1].failure


async def test_one_that_dies_in_the_middle_is_a_failure(talk: Talk) -> None:
    said = await talk.collect(talk.answer(b'{"type":"sam', ends=True))
    assert isinstance(said[-1], Profiled)
    assert said[-1].failure == "the worker has ended meanwhile"


async def test_it_is_not_read_for_ever(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ANSWER_BYTES == 8 * 1024 * 1024
    monkeypatch.setattr(module, "ANSWER_BYTES", 100)
    said = await talk.collect(talk.answer(b"x" * 101))
    assert isinstance(said[-1], Profiled)
    assert "longer than 100 octets" in said[-1].failure


async def test_one_that_cannot_be_ordered_is_a_failure(talk: Talk) -> None:
    talk.theirs.close()
    said = await talk.collect(lambda: None)
    assert isinstance(said[-1], Profiled)
    assert "it could not be asked" in said[-1].failure


async def test_who_does_not_wait_any_more_closes_the_socket(talk: Talk) -> None:
    saying = follow_profile(
        talk.asker, WISH, talk.answer(b'{"type":"sampled","samples":1}\n')
    )
    assert await anext(saying) == Sampled(1)
    await saying.aclose()
    assert talk.sock is not None
    assert await asyncio.to_thread(talk.sock.recv, 1) == b""
