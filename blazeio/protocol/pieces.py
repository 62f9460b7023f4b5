"""Content that is given piece by piece, by an iterable that is closed at the end.

A generator that is left half-way is closed by Python's collector, some time later and
in no task of its request. What it holds, a cursor or a file, stays open until then. So
whoever iterates over one closes it, however the iteration ends.
"""

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from inspect import isasyncgenfunction, iscoroutine, isgeneratorfunction
from typing import Any, Protocol

from blazeio.errors import LocalProtocolError

Content = str | bytes | bytearray | memoryview
CONTENT = (str, bytes, bytearray, memoryview)
Pieces = AsyncIterable[Any] | Iterable[Any]
"""Each piece is ``Content``."""


class Cleaning(Protocol):
    """The task of a handler, as far as cancellations are held back."""

    def cleaning(self) -> AbstractContextManager[None]:
        """Hold a cancellation back until the block is over."""
        ...


@asynccontextmanager
async def closed_at_end(pieces: object, owner: object = None) -> AsyncIterator[None]:
    """Close a generator when the block ends, however it ends.

    Args:
        pieces: An async iterator with an ``aclose``, or a generator. Anything else,
            as a list or a file, is left as it is: it may be used again.
        owner: ``r``, where its handler iterates: the loss of the connection does not
            cancel the handler before the generator is closed.
    """
    try:
        yield
    finally:
        close: Callable[[], Awaitable[object]] | None
        close = getattr(pieces, "aclose", None)
        if isinstance(pieces, AsyncIterator) and close is not None:
            handler_task: Cleaning | None = getattr(owner, "handler_task", None)
            with nullcontext() if handler_task is None else handler_task.cleaning():
                await close()
        elif isinstance(pieces, Generator) or iscoroutine(pieces):
            pieces.close()


@asynccontextmanager
async def iterated(
    pieces: AsyncIterable[Any], owner: object = None
) -> AsyncIterator[AsyncIterator[Any]]:
    """Iterate; at the end close the iterator, which a class may make by a generator."""
    iterator = aiter(pieces)
    async with closed_at_end(iterator, owner):
        yield iterator


def check_pieces(pieces: object) -> None:
    """Refuse what cannot be iterated over for content.

    Raises:
        LocalProtocolError: It cannot be; the caller's fault.
    """
    is_iterable = isinstance(pieces, AsyncIterable | Iterable)
    if not is_iterable or isinstance(pieces, Mapping):
        raise LocalProtocolError(f"the content is {name_kind(pieces)}")


def name_kind(value: object) -> str:
    """Return the kind of a value, and what is expected in its place, for an error."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {kind}: send it by Deliver.json, or give str or bytes"
    if iscoroutine(value):
        return f"the coroutine of {value.__qualname__}: write `await` before it"
    if isgeneratorfunction(value) or isasyncgenfunction(value):
        return f"the function {value.__qualname__} itself: call it"
    if value is None:
        return "None: expected str or bytes"
    return f"of type {kind}: expected str or bytes"
