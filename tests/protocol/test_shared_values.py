"""What requests share cannot be changed through any of them.

Heads, field sections and the content of messages without content are kept and
given to whoever sends the same octets. Here everything that can be reached from
a request is written to, in every way that Python has; then another client asks.
"""

from collections.abc import Callable, Iterator
from functools import partial
from operator import setitem
from typing import Any, cast

import pytest

from blazeio.limits import Limits
from blazeio.wire.headers import Headers
from tests.protocol.serving import Connect, R, request

PLAIN = request("GET", "/a/b", "Accept: text/html", "X-Many: 1", "X-Many: 2")
SAME_NAMES = request("GET", "/a/b?q=1", "Accept: text/html", "Connection: keep-alive")
REFUSED = (AttributeError, TypeError, NotImplementedError)
WRITERS = {
    *("append", "extend", "insert", "add", "update", "setdefault", "clear"),
    *("pop", "popitem", "popleft", "remove", "discard", "sort", "reverse"),
    *("appendleft", "__setitem__", "__delitem__", "__ior__", "__iadd__"),
}
ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    *((), ("x",), ({"x": "defaced"},), ("x", "y"), (0,), (0, "x")),
)


def children(value: Any) -> Iterator[object]:
    """What a value leads to: its attributes, its members, what it gives out."""
    for name in names_of(value):
        yield getattr(value, name, None)
    if isinstance(value, tuple | list | set | frozenset):
        yield from value
    elif hasattr(value, "items"):
        yield value.items()
        yield value.keys()
        yield value.values()
        for key in list(value):
            yield key
            yield value[key]
    if isinstance(value, Headers):
        yield from (value.index(), value.pairs, value.get_all("accept"))


def names_of(value: object) -> list[str]:
    """The attributes that a value has of its own."""
    names = list(getattr(value, "__dict__", ()))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
        fields = base.__dict__.get("__struct_fields__", ())
        names += fields if isinstance(fields, tuple) else ()
    return [name for name in names if not name.startswith("__")]


def walk(*values: object) -> list[object]:
    """Everything that can be reached, once each."""
    seen: dict[int, object] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        is_atom = isinstance(value, str | bytes | int | float | type | None)
        if is_atom or callable(value) or id(value) in seen:
            continue
        if isinstance(value, Limits):  # the server's, and frozen
            continue
        seen[id(value)] = value
        waiting += children(value)
    return list(seen.values())


def deface(value: object) -> None:
    """Write to a value in every way; what it refuses is right."""
    attempts: list[Callable[[], object]] = []
    for name in (*names_of(value), "other"):
        attempts.append(partial(setattr, value, name, "defaced"))
        attempts.append(partial(delattr, value, name))
    for name in WRITERS:
        method = getattr(value, name, None)
        if method is None:
            continue
        attempts += [partial(method, *arguments) for arguments in ARGUMENTS]
    for attempt in attempts:
        try:
            attempt()
        except (*REFUSED, LookupError, ValueError, RuntimeError):
            pass


def describe(r: R) -> tuple[object, ...]:
    """What a handler sees of its request."""
    return (
        *(r.method, r.path, r.query, r.tail, r.content_length, r.transfer_encoding),
        *(r.headers.pairs, dict(r.headers.index()), dict(r.headers), len(r.headers)),
        *(r.headers.get("accept"), r.headers["HOST"], r.headers.get_all("x-many")),
        *("x" in r.headers, dict(r.trailers), dict(r.path_params), dict(r.store)),
        *(r.content.collected, r.content.is_whole, r.content.queued_bytes),
        *(r.content.error, r.content.reader, r.current_length, r.upgrade),
        *(r.authority, r.response.is_persistent, r.response.minor),
    )


@pytest.mark.parametrize("octets", [PLAIN, SAME_NAMES], ids=["kept whole", "kept"])
async def test_nothing_that_requests_share_can_be_changed(
    connect: Connect, octets: bytes
) -> None:
    seen: list[tuple[object, ...]] = []

    async def look(r: R) -> None:
        seen.append((*describe(r), await r.read(), [p async for p in r.pull()]))
        r.reply(b"")

    async def write(r: R) -> None:
        shared = [r.headers, r.content, r.trailers, r.path_params, r.response.head]
        found = walk(*shared)
        assert len(found) > 8
        for value in found:
            deface(value)
        r.reply(b"")

    wire = connect(look)
    for _ in range(3):  # by then it is kept
        await wire.ask(octets)
    await connect(write).ask(octets)
    await wire.ask(octets)
    other = connect(look)
    await other.ask(octets)
    assert all(each == seen[0] for each in seen)


async def test_what_is_shared_refuses_to_be_written_to(connect: Connect) -> None:
    refused: list[str] = []

    async def write(r: R) -> None:
        headers: Any = r.headers
        attempts: list[Callable[[], object]] = [
            lambda: headers.index().update(x="y"),
            lambda: headers.index().__setitem__("x", "y"),
            lambda: headers.__setitem__("x", "y"),
            lambda: setattr(headers, "_pairs", ()),
            lambda: setattr(headers, "_index", {}),
            lambda: delattr(headers, "_index"),
            lambda: headers._pairs.append(("x", "y")),
            lambda: setattr(r.content, "collected", b"x"),
            lambda: setattr(r.content, "is_whole", False),
            lambda: r.content._pieces.append(b"x"),
            lambda: setattr(r.response.head, "path", "/x"),
            lambda: setitem(cast("dict[str, str]", r.path_params), "x", "y"),
        ]
        for attempt in attempts:
            with pytest.raises(REFUSED):
                attempt()
            refused.append("refused")
        r.reply(b"")

    await connect(write).ask(PLAIN)
    assert len(refused) == 12


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # HTTP/1.0 and 1.1: what the same fields decide differs
        (request("GET"), request("GET", version="1.0")),
        # the same field lines under another request line
        (request("GET", "/"), request("HEAD", "/")),
        (request("GET", "/"), request("GET", "http://other/")),
        (request("OPTIONS", "/"), request("OPTIONS", "*")),
        # one line, of a field that decides, and of one that does not
        (
            request("GET", "/", "Upgrade: close"),
            request("GET", "/", "Connection: close"),
        ),
        # repeated, joined, and in another order
        (
            request("GET", "/", "Accept: a", "Accept: b"),
            request("GET", "/", "Accept: a, b"),
        ),
        (request("GET", "/%41"), request("GET", "/A")),
        (request("GET", "/?"), request("GET", "/")),
    ],
)
async def test_what_is_kept_of_one_request_is_not_taken_for_another(
    connect: Connect, first: bytes, second: bytes
) -> None:
    results: list[object] = []

    async def look(r: R) -> None:
        results.append(
            (
                *(r.method, r.path, r.query, r.tail, r.authority, r.upgrade),
                *(r.headers.pairs, r.response.minor, r.response.is_persistent),
            )
        )
        r.reply(b"")

    for octets in (first, second) * 4:
        await connect(look).ask(octets)
    assert results[0::2] == [results[0]] * 4
    assert results[1::2] == [results[1]] * 4
    assert results[0] != results[1]
