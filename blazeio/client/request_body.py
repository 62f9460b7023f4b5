"""The content of a request: octets, JSON, forms, files and streams.

``choose_body`` turns the arguments of a request into octets or an async iterable, and
the field line of its type. Files are read in threads while they are sent, so that a
slow disk does not block the loop; their size is sent as Content-Length where it is
known. A body that can be sent again (octets, files) says so by ``can_repeat``; a stream
cannot.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from io import TextIOBase
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, TypeVarTuple, cast

import msgspec

from blazeio.client.request import MeasuredBody
from blazeio.content.forms import (
    ComposedForm,
    FilePart,
    FormInput,
    compose_form,
    serialize_urlencoded,
)
from blazeio.errors import InvalidArgument, LocalProtocolError
from blazeio.protocol.payload import closed_at_end, iterated
from blazeio.wire.headers import serialize_field

READ_BYTES = 64 * 1024
BOUNDARY_OCTETS = 16
NAMELESS = "upload"

File = bytes | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]
"""Octets, a path, an open file, or pieces as they come."""

FileInput = File | tuple[str, File] | tuple[str, File, str]
"""A file; with the name that the server is told, and its media type."""

Files = Mapping[str, FileInput] | Sequence[tuple[str, FileInput]]
"""Files by the name of their field."""


class FormBody(MeasuredBody):
    """The content of a form, in pieces.

    Args:
        form: The form with its part heads.

    Attributes:
        content_type: With its boundary.
        size_bytes: The size of the whole content; None where that of a file is not
            known.
        can_repeat: It can be iterated over once more.
    """

    def __init__(self, form: ComposedForm[File]) -> None:
        self._form = form
        self.content_type = form.content_type
        self.size_bytes = form.size_bytes
        self.can_repeat = not any(
            isinstance(file.content, AsyncIterable) or file.size_bytes is None
            for _, file in form.files
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the files one after the other, in threads."""
        for before, file in self._form.files:
            yield before
            pieces = _read(file.content)
            async with closed_at_end(pieces):
                async for octets in pieces:
                    yield octets
        yield self._form.ending


class FileBody(MeasuredBody):
    """A file as the whole content: from its present position to its end.

    Args:
        file: A path, or a file that is open for octets; it stays open.

    Attributes:
        size_bytes: None where it is not known before, as of a pipe.
        can_repeat: It can be read once more.

    Raises:
        InvalidArgument: The caller's fault: it is no file, or open for text.
        LocalProtocolError: Likewise: its size cannot be read.
    """

    def __init__(self, file: os.PathLike[str] | BinaryIO) -> None:
        if isinstance(file, TextIOBase):
            message = 'body: the file is open for text: open it with mode "rb"'
            raise InvalidArgument(message)
        self._file = file
        try:
            self.size_bytes = _measure(file)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise LocalProtocolError(f"body: {error}") from error
        except (TypeError, AttributeError):
            kind = type(file).__name__
            message = f"body: expected a path or an open file, not {kind}"
            raise InvalidArgument(message) from None
        self.can_repeat = self.size_bytes is not None

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the file, in threads."""
        return _read(self._file)


def make_form_body(fields: FormInput, files: Files) -> FormBody:
    """Make the content of a form with files.

    Args:
        fields: The text fields.
        files: The files, by the name of their field.

    Raises:
        LocalProtocolError: The caller's fault: something is no file, or its size cannot
            be read.
    """
    pairs = files.items() if isinstance(files, Mapping) else files
    try:
        named = [(name, given) for name, given in pairs]
    except (TypeError, ValueError):
        message = "files: expected a dict or pairs of names and files, not "
        raise InvalidArgument(message + type(files).__name__) from None
    parts = [_make_part(name, given) for name, given in named]
    return FormBody(compose_form(fields, parts, secrets.token_hex(BOUNDARY_OCTETS)))


def _make_part(name: str, given: FileInput) -> FilePart[File]:
    filename: str | None = None
    content_type: str | None = None
    content: Any = given
    if isinstance(given, tuple):
        filename, content, *rest = given
        content_type = rest[0] if rest else None
    if filename is None:
        filename = _guess_name(content)
    try:
        size = _measure(content)
    except OSError as error:
        message = f"file {name!r}: {error.strerror}: {error.filename}"
        raise LocalProtocolError(message) from error
    except ValueError as error:  # it is closed, or its name holds a NUL
        raise LocalProtocolError(f"file {name!r}: {error}") from error
    except TypeError:
        kind = type(content).__name__
        message = f"file {name!r}: expected bytes, a path or an open file, not {kind}"
        if isinstance(content, TextIOBase):
            message = f'file {name!r}: it is open for text: open it with mode "rb"'
        raise InvalidArgument(message) from None
    return FilePart(name, filename, content, size, content_type)


def _guess_name(content: Any) -> str:
    path = content if isinstance(content, os.PathLike) else getattr(content, "name", "")
    return (isinstance(path, str | os.PathLike) and Path(path).name) or NAMELESS


def _measure(content: Any) -> int | None:
    """Return the size of a file; None where it is not known before.

    Raises:
        TypeError: It is no file.
    """
    if isinstance(content, bytes):
        return len(content)
    if isinstance(content, os.PathLike):
        return _measure_path(content)
    if isinstance(content, AsyncIterable):
        return None
    if not hasattr(content, "read") or isinstance(content, TextIOBase):
        raise TypeError
    if not content.seekable():
        return None
    start = content.tell()
    end = content.seek(0, os.SEEK_END)
    content.seek(start)
    return int(end) - int(start)


def _measure_path(path: os.PathLike[str]) -> int | None:
    """Return the size of a file; None for a pipe or a device."""
    told = os.stat(path)
    if stat.S_ISDIR(told.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return told.st_size if stat.S_ISREG(told.st_mode) else None


async def _read(content: File) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        yield content
    elif isinstance(content, AsyncIterable):
        async with iterated(content) as pieces:
            async for octets in pieces:
                yield octets
    elif isinstance(content, os.PathLike):
        async with iterated(_read_path(Path(content))) as pieces:
            async for octets in pieces:
                yield octets
    else:
        start = content.tell() if content.seekable() else None
        try:
            async with iterated(_read_file(content)) as pieces:
                async for octets in pieces:
                    yield octets
        finally:
            # From the same position, so that it can be sent again after a part was
            # sent.
            if start is not None and not getattr(content, "closed", False):
                content.seek(start)


async def _read_path(path: Path) -> AsyncIterator[bytes]:
    with contextlib.ExitStack() as stack:
        # Opened into the stack within the thread: a caller that is cancelled does not
        # get what the thread returns.
        file = await finish_in_thread(lambda: stack.enter_context(path.open("rb")))
        async with iterated(_read_file(file)) as pieces:
            async for octets in pieces:
                yield octets


async def _read_file(file: BinaryIO) -> AsyncIterator[bytes]:
    while octets := await finish_in_thread(file.read, READ_BYTES):
        if not isinstance(octets, bytes):
            raise LocalProtocolError(f"file {file!r}: it is open for text, not octets")
        yield octets


# Blocking calls in threads
#
# ``asyncio.to_thread`` leaves the thread running when its caller is cancelled: it would
# go on reading from a file that is meanwhile sent once more, or writing to a descriptor
# whose number belongs to another file by then.


_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")


async def finish_in_thread(
    function: Callable[[*_Args], _Result], *args: *_Args
) -> _Result:
    """Call a function in a thread; return what it returns, raise what it raises.

    A caller that is cancelled is cancelled when the call is over, and only then.
    """
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        work.exception()  # the error of a cancelled call is of no interest
        raise asyncio.CancelledError
    return work.result()


# Choosing the content


Body = (
    bytes
    | bytearray
    | memoryview
    | str
    | AsyncIterable[bytes]
    | AsyncIterable[str]
    | AsyncIterable[bytes | str]
    | Iterator[bytes]
    | Iterator[str]
    | Iterator[bytes | str]
    | PathLike[str]
    | BinaryIO
)
"""Octets, text (UTF-8), pieces of both as they come, a path or an open file. A
generator is closed when no more of it is wanted."""

JSON = b"Content-Type: application/json\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"

NO_BODY: Any = object()
"""The default of ``json``, since ``json=None`` is the JSON null."""


def choose_body(
    body: Body | None, json: Any, form: FormInput | None, files: Files | None = None
) -> tuple[bytes | AsyncIterable[bytes | str] | None, bytes]:
    """Return the content, and the field line of its type.

    Raises:
        LocalProtocolError: The caller's fault: more than one was given, or one of a
            wrong type.
    """
    has_form = form is not None or files is not None
    if sum([body is not None, json is not NO_BODY, has_form]) > 1:
        raise LocalProtocolError("body, json and form: only one of them can be sent")
    if files is not None:
        composed = make_form_body(form or {}, files)
        return composed, serialize_field("Content-Type", composed.content_type)
    if json is not NO_BODY:
        return _encode_json(json), JSON
    if form is not None:
        return serialize_urlencoded(form).encode("ascii"), FORM
    if isinstance(body, str):
        return body.encode(), TEXT
    if body is None or isinstance(body, bytes | AsyncIterable):
        return body, b""
    if isinstance(body, bytearray | memoryview):
        return bytes(body), b""
    if isinstance(body, PathLike) or hasattr(body, "read"):
        return FileBody(cast("PathLike[str] | BinaryIO", body)), b""
    if isinstance(body, Iterator):
        return PiecesBody(body), b""
    kind = type(body).__name__
    message = f"body: expected bytes, str, a file or an async iterable, not {kind}"
    raise InvalidArgument(message)


class PiecesBody(AsyncIterable[bytes | str]):
    """Content from a plain generator, or another iterator; it can be sent once."""

    def __init__(self, pieces: Iterator[bytes | str]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes | str]:
        """Iterate on the loop; the generator is closed at the end."""
        async with closed_at_end(self._pieces):
            for piece in self._pieces:
                yield piece


def _encode_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"json: {error}") from error
