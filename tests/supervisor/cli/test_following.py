import asyncio
import os

import msgspec
import pytest
from click.testing import Result

from blazeio_supervisor.errors import NotRunningError
from blazeio_supervisor.ipc.control_api import (
    EventsAnswer,
)
from blazeio_supervisor.ipc.socket_paths import SocketPath
from blazeio_supervisor.log.formats import EventRecord
from blazeio_supervisor.log.setup import note
from tests.supervisor.cli.small_servers import answer, answered
from tests.supervisor.cli.verb_harness import VerbHarness, invoke
from tests.support.clock import wait_until


@pytest.mark.parametrize(
    ("words", "texts"), [((), ["a", "b"]), (("--last", "1"), ["b"])]
)
async def test_events_are_lines_or_json(
    verb_harness: VerbHarness, words: tuple[str, ...], texts: list[str]
) -> None:
    verb_harness.events.attach()
    for text in "ab":
        note("scaled", text)
    said = (await verb_harness.run("events", *words)).output
    assert [line[-1] for line in said.splitlines()] == texts
    said = (await verb_harness.run("events", *words, "--json")).output
    found = msgspec.json.decode(said, type=EventsAnswer).events
    assert [each.text for each in found] == texts
    verb_harness.events.detach()


async def test_events_are_followed_to_the_end_of_the_service(
    verb_harness: VerbHarness,
) -> None:
    verb_harness.events.attach()
    note("ready", "a")
    run = asyncio.create_task(verb_harness.run("events", "--follow", "--json"))
    await wait_until(lambda: verb_harness.events.is_followed)
    note("stopped", "b")
    verb_harness.events.detach()
    await verb_harness.server.drain()
    done = await run
    lines = done.stdout.splitlines()
    found = [msgspec.json.decode(line, type=EventRecord) for line in lines]
    assert [each.text for each in found] == ["a", "b"]
    assert done.return_value == 0


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def make_event(seq: int) -> EventRecord:
    return EventRecord(seq=seq, at_s=0.0, event="scaled", level="INFO", text=str(seq))


def write_past(*seqs: int) -> bytes:
    past = EventsAnswer(events=[make_event(seq) for seq in seqs])
    return answer(msgspec.json.encode(past))


def write_chunks(*seqs: int) -> bytes:
    lines = [msgspec.json.encode(make_event(seq)) + b"\n" for seq in seqs]
    chunks = [b"%x\r\n%s\r\n" % (len(line), line) for line in lines]
    return HEAD + b"".join(chunks)


async def follow(place: SocketPath, answers: dict[str, bytes], *words: str) -> Result:
    """``--follow`` of a service that cuts each connection after its answer."""
    with answered(place, lambda target: answers.pop(target)):
        said = ("events", "--follow", *words, "--control", place.text)
        done = await asyncio.to_thread(invoke, *said)
    assert not answers
    return done


async def test_a_cut_is_followed_by_what_has_come_since(place: SocketPath) -> None:
    answers = {
        "/events?last=2": write_past(3, 4),
        "/events?after=4&follow=true": write_chunks(5),
        "/events?after=5&follow=true": write_chunks(6) + LAST_CHUNK,
    }
    done = await follow(place, answers, "-n", "2")
    assert [line[-1] for line in done.stdout.splitlines()] == ["3", "4", "5", "6"]
    assert done.stderr == "the service has ended\n"
    assert done.return_value == 0


async def test_who_wants_no_past_still_sees_all_that_comes(place: SocketPath) -> None:
    answers = {
        "/events?last=1": write_past(4),
        "/events?after=4&follow=true": write_chunks() + LAST_CHUNK,
    }
    done = await follow(place, answers, "-n", "0")
    assert (done.stdout, done.return_value) == ("", 0)


async def test_what_the_service_has_forgotten_is_said_to_be_missing(
    place: SocketPath,
) -> None:
    answers = {
        "/events?last=1": write_past(4),
        "/events?after=4&follow=true": write_chunks(7) + LAST_CHUNK,
    }
    done = await follow(place, answers, "-n", "1")
    assert done.stderr.startswith("2 events missing here")


async def test_a_service_that_is_gone_without_a_word_is_said_to_be_gone(
    place: SocketPath,
) -> None:
    def write(target: str) -> bytes:
        if not target.endswith("follow=true"):
            return write_past(4)
        os.unlink(place.text)  # nobody finds it any more
        return write_chunks(5)

    with answered(place, write):
        said = ("events", "--follow", "--control", place.text)
        done = await asyncio.to_thread(invoke, *said)
    assert isinstance(done.exception, NotRunningError)
    assert "without a last word" in str(done.exception)
    assert [line[-1] for line in done.stdout.splitlines()] == ["4", "5"]
