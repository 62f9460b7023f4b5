"""A form with files as the content of a request: read as it is sent.

May import: blazeio.content, blazeio.errors.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Mapping,
    Sequence,
)
from io import TextIOBase
from pathlib import Path
from typing import Any, BinaryIO

from blazeio.client.threads import finish_in_thread
from blazeio.content.forms.composing import ComposedForm, FilePart, compose_form
from blazeio.content.forms.urlencoded import FormInput
from blazeio.errors import InvalidArgument, LocalProtocolError
from blazeio.protocol.pieces import closed_at_end, iterated

READ_BYTES = 64 * 1024
BOUNDARY_OCTETS = 16
NAMELESS = "upload"

File = bytes | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]
"""Octets, a path, an open file, or pieces as they come."""

FileInput = File | tuple[str, File] | tuple[str, File, str]
"""A file; with the name that the server is told, and its media type."""

Files = Mapping[str, FileInput] | Sequence[tuple[str, FileInput]]
"""Files by the name of their field."""


class FormBody(AsyncIterable[bytes]):
    """The content of a form, in pieces.

    Args:
        form: Framed.

    Attributes:
        content_type: With its boundary.
        size_bytes: Of all of it; None where that of a file is not known.
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
        """Read the files one after the other, off the loop."""
        for before, file in self._form.files:
            yield before
            pieces = _read(file.content)
            async with closed_at_end(pieces):
                async for octets in pieces:
                    yield octets
        yield self._form.ending


class FileBody(AsyncIterable[bytes]):
    """A file as the whole content: from where it stands to its end.

    Args:
        file: A path, or a file that is open for octets; it stays open.

    Attributes:
        size_bytes: None where it cannot be known before, as of a pipe.
        can_repeat: It can be read once more.

    Raises:
        InvalidArgument: The caller's fault: it is no file, or open for text.
        LocalProtocolError: Likewise: it cannot be looked at.
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
        """Read it off the loop."""
        return _read(self._file)


def make_form_body(fields: FormInput, files: Files) -> FormBody:
    """Make the content of a form with files.

    Args:
        fields: Text.
        files: By the name of their field.

    Raises:
        LocalProtocolError: The caller's fault: a file is none, or cannot be
            looked at.
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
    """Its octets; None where they are not known before.

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
    """Its octets; None for a pipe or a device, whose size says nothing."""
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
            # It may be sent once more, also where only a part of it has been sent.
            if start is not None and not getattr(content, "closed", False):
                content.seek(start)


async def _read_path(path: Path) -> AsyncIterator[bytes]:
    with contextlib.ExitStack() as stack:
        # Within the thread, since who is cancelled gets nothing of what it returns.
        file = await finish_in_thread(lambda: stack.enter_context(path.open("rb")))
        async with iterated(_read_file(file)) as pieces:
            async for octets in pieces:
                yield octets


async def _read_file(file: BinaryIO) -> AsyncIterator[bytes]:
    while octets := await finish_in_thread(file.read, READ_BYTES):
        if not isinstance(octets, bytes):
            raise LocalProtocolError(f"file {file!r}: it is open for text, not octets")
        yield octets
