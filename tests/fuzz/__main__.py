"""Coverage-guided fuzzing of all that a peer's octets reach.

    python -m tests.fuzz --seconds 600

Each input is a few cut marks and a stream of octets. For each:

* a connection over a fake transport is fed the stream whole and cut: no
  exception, no task left, and the same answers either way;
* where we read a whole request, h11 and httptools must read the same one, or
  a known reason says why they may not (``tests/property/test_wire_peers.py``).

A finding prints its octets and is kept as ``crash-*`` in the corpus folder;
it then becomes a case of ``tests/wire`` or ``tests/conformance``.
"""

import argparse
import asyncio
import json
import logging
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["blazeio", "h11"]):
    from blazeio.errors import RemoteProtocolError
    from blazeio.limits import Limits
    from blazeio.protocol.context import ServerContext
    from blazeio.protocol.http1 import Http1Connection
    from blazeio.protocol.request import BlazeioServerProtocol
    from tests.property.test_wire_peers import (
        KNOWN,
        Seen,
        see_ourselves,
        see_with_h11,
        see_with_httptools,
    )
    from tests.support.response import parse_responses
    from tests.support.transport import FakeTransport
    from tests.wire.feeding import read_messages

CORPUS = Path(__file__).parents[1] / "conformance" / "corpus" / "cases.json"
CUTS = 4
"""The first octets of an input: where the stream is cut, relative to its length."""
TURNS = 64
"""Turns of the loop in which every answer must have been given."""

_socket, _peer = socket.socketpair()  # only its descriptor is asked things
_loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)


async def echo(r: BlazeioServerProtocol) -> None:
    """Answer with the content; refuse what breaks it, as an app does."""
    try:
        content, status = await r.read(), 200
    except RemoteProtocolError as error:
        content, status = str(error).encode(), error.status_hint
    # who reads the answers later does not know which of them were to HEAD
    r.reply(b"" if r.method == "HEAD" else content, status)


def cut(octets: bytes, marks: bytes) -> Iterator[bytes]:
    """The octets in pieces."""
    start = 0
    for end in sorted(len(octets) * mark // 255 for mark in marks):
        if end > start:
            yield octets[start:end]
            start = end
    yield octets[start:]


async def converse(pieces: list[bytes]) -> bytes:
    """What a connection answers."""
    context = ServerContext(echo, Limits(), _loop)
    protocol = Http1Connection(context)
    transport = FakeTransport(protocol, extra={"socket": _socket})
    try:
        for piece in pieces:
            transport.feed(piece)
            await asyncio.sleep(0)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if not transport.is_lost:
            transport.abort()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert context.in_flight == 0, "a handler is left"
        assert not context.connections, "a connection is left"
    finally:
        context.close()
    return bytes(transport.written)


def agree(octets: bytes) -> None:
    """Hold the first whole request that we read against the peers."""
    messages = read_messages([octets]).messages
    if not messages or not messages[0].is_whole:
        return
    ours = see_ourselves(messages[0])
    is_known = any(known.search(octets) for known, _ in KNOWN.values())
    for see in (see_with_h11, see_with_httptools):
        peer = see(octets)
        if peer is None:
            assert is_known, f"{see.__name__} refuses what we read"
        else:
            assert comparable(ours) == comparable(peer), see.__name__


def comparable(seen: Seen) -> Seen:
    """Without what is not the same by intent.

    h11 writes the name of the coding in lower case. We take the Host from a
    target that has one (RFC 9112 section 3.2.2).
    """
    has_own_host = seen.target.startswith((b"/", b"*"))
    fields = tuple(
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in seen.fields
        if name != b"host" or has_own_host
    )
    return replace(seen, fields=fields)


def try_one(data: bytes) -> None:
    """One input of the fuzzer."""
    marks, octets = data[:CUTS], data[CUTS:]
    whole = _loop.run_until_complete(converse([octets]))
    in_pieces = _loop.run_until_complete(converse(list(cut(octets, marks))))
    assert gist(whole) == gist(in_pieces), (gist(whole), gist(in_pieces))
    agree(octets)


def gist(answers: bytes) -> list[tuple[int, bytes]]:
    """What must not depend on the cut.

    ``100 Continue`` does: it is sent only where the content had not come with
    its head. So does which of several faults is seen first.
    """
    responses = parse_responses(answers)
    finals = [each for each in responses if each.status != 100]
    return [
        (each.status, each.body) if each.status < 400 else (400, b"") for each in finals
    ]


def seeds() -> Iterator[bytes]:
    """The black-box corpus: its plain texts."""
    for case in json.loads(CORPUS.read_text())["cases"]:
        text = "".join(part for part in case["send"] if isinstance(part, str))
        yield bytes(CUTS) + text.replace("{HOST}", "h").encode("latin-1")


def main() -> None:
    """Fuzz for a given time; exit 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    logging.getLogger("blazeio").addHandler(logging.NullHandler())
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    folder = Path(tempfile.mkdtemp(prefix="blazeio-fuzz-"))
    for number, seed in enumerate(seeds()):
        (folder / f"seed-{number:03}").write_bytes(seed)
    print(f"fuzzing for {options.seconds} s; findings and corpus in {folder}")
    flags = [f"-max_total_time={options.seconds}", "-max_len=2048", "-timeout=10"]
    flags += [f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *flags, str(folder)], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
