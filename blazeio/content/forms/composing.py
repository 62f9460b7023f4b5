"""multipart/form-data (RFC 7578) written: the counterpart of ``multipart``.

Only the octets around the files are made here. Their content may be anything:
who sends it puts it between them, so that no file need be in memory.

May import: blazeio.content.forms, blazeio.content.media_types, blazeio.errors,
blazeio.wire.grammar. Pure.
"""

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from msgspec import Struct

from blazeio.content.forms.multipart import MULTIPART
from blazeio.content.forms.urlencoded import FormInput, iterate_fields
from blazeio.content.media_types import guess_media_type
from blazeio.errors import LocalProtocolError
from blazeio.wire.grammar import FIELD_VALUE

Content = TypeVar("Content")

_DISPOSITION: Final = 'Content-Disposition: form-data; name="'


class FilePart(Struct, Generic[Content], frozen=True):
    """A file of a form.

    Attributes:
        name: Of the field.
        filename: What the server is told.
        content: Whatever the sender knows how to read.
        size_bytes: Of the content; None where it is not known.
        content_type: None: by the filename.
    """

    name: str
    filename: str
    content: Content
    size_bytes: int | None = None
    content_type: str | None = None


class ComposedForm(Struct, Generic[Content], frozen=True):
    """A form, framed.

    Attributes:
        content_type: For the field.
        files: The octets before each file, and the file.
        ending: The octets after the last one.
    """

    content_type: str
    files: list[tuple[bytes, FilePart[Content]]]
    ending: bytes

    @property
    def size_bytes(self) -> int | None:
        """Of all of it; None where the size of a file is not known."""
        size = len(self.ending)
        for before, file in self.files:
            if file.size_bytes is None:
                return None
            size += len(before) + file.size_bytes
        return size


def compose_form(
    fields: FormInput, files: Iterable[FilePart[Content]], boundary: str
) -> ComposedForm[Content]:
    """Frame a form: its fields first, so that a server knows them before a file.

    Args:
        fields: Text; str is UTF-8, as browsers send it.
        files: In their order.
        boundary: Random, so that no content can hold it by design; of the
            characters that need no quotes.

    Raises:
        LocalProtocolError: A media type holds a line end. The caller's fault.
    """
    delimiter = f"--{boundary}\r\n"
    octets: list[bytes] = []
    for name, value in iterate_fields(fields):
        content = value if isinstance(value, bytes) else str(value).encode()
        head = f'{delimiter}{_DISPOSITION}{_escape(name)}"\r\n\r\n'
        octets += [head.encode(), content, b"\r\n"]
    framed = []
    for file in files:
        head = (
            f'{delimiter}{_DISPOSITION}{_escape(file.name)}"; '
            f'filename="{_escape(file.filename)}"\r\n'
            f"Content-Type: {_checked_type(file)}\r\n\r\n"
        )
        framed.append((b"".join([*octets, head.encode()]), file))
        octets = [b"\r\n"]
    ending = b"".join([*octets, f"--{boundary}--\r\n".encode()])
    return ComposedForm(f"{MULTIPART}; boundary={boundary}", framed, ending)


def _checked_type(file: FilePart[Content]) -> str:
    media_type = file.content_type or guess_media_type(file.filename)
    if not FIELD_VALUE.fullmatch(media_type):
        message = f"file {file.name!r}: {media_type!r} is no media type"
        raise LocalProtocolError(message)
    return media_type


def _escape(text: str) -> str:
    """As browsers do (WHATWG HTML, "multipart form data"), where RFC 7578 is vague."""
    return text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")
