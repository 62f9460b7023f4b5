"""``Simpleserve``: one file of the app's choice as the answer.

May import: blazeio.errors, blazeio.files, blazeio.protocol.
"""

import os

from blazeio.errors import Abort, FieldInput
from blazeio.files.containment import open_any
from blazeio.files.delivery import CHUNK_BYTES, deliver_file
from blazeio.files.siblings import open_variant
from blazeio.loggers import get_logger
from blazeio.protocol.server import BlazeioServerProtocol

log = get_logger("blazeio.files")


class Simpleserve:
    """Serve files of any size from where they are."""

    @staticmethod
    async def serve(
        r: BlazeioServerProtocol,
        path: str | os.PathLike[str],
        chunk_size: int = CHUNK_BYTES,
        headers: FieldInput | None = None,
    ) -> None:
        """Answer with a file: whole, in parts, or "not modified".

        Conditions, ranges and HEAD are answered as RFC 9110 says, the media
        type is by the file's name. Of a file that can be compressed, a sibling
        ``.br``, ``.zst`` or ``.gz`` that is not older is sent to who accepts
        it. Methods other than GET and HEAD get the whole file.

        Args:
            r: The request to answer.
            path: Of the file. The app's own: never made of what a client sent;
                for that there is ``StaticServer``.
            chunk_size: Octets per read where sendfile(2) is not to be had: over
                TLS, and for what is small.
            headers: Further fields. Content-Type stands instead of the guessed
                one; validators, ranges and length stay ours.

        Raises:
            Abort: 404, there is no such regular file, which is logged too: the
                path is the app's.
            ClientDisconnected: The peer is gone.
            LocalProtocolError: A response has begun, or a field is malformed.
        """
        name = os.fsdecode(path)
        opened = open_any(name)
        if opened is None:
            place = os.path.abspath(name.partition("\0")[0])
            log.warning("%s %s: %s %s", r.method, r.tail, place, _say_why(name))
            raise Abort("Not Found", 404)
        likes = r.headers.get("accept-encoding")
        opened, found = open_variant(opened, name, likes, open_any)
        with opened.file:
            await deliver_file(r, opened, found, max(chunk_size, 1), headers)


def _say_why(name: str) -> str:
    """What is wrong with a file that could not be opened."""
    try:
        if os.path.isdir(name):
            return "is a folder, not a file: web.add_static serves one"
        with open(name, "rb", opener=_open_without_waiting):
            return "is no regular file"
    except ValueError:
        return "is no name that a file can have"
    except OSError as error:
        return f"cannot be served: {error.strerror}"


def _open_without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)
