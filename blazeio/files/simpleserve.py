"""``Simpleserve``: one file of the app's choice as the answer.

May import: blazeio.errors, blazeio.files, blazeio.protocol.
"""

import os

from blazeio.errors import Abort, FieldInput
from blazeio.files.containment import open_any
from blazeio.files.delivery import CHUNK_BYTES, deliver_file
from blazeio.files.siblings import open_variant
from blazeio.protocol.server import BlazeioServerProtocol


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
            Abort: 404, there is no such regular file.
            ClientDisconnected: The peer is gone.
            LocalProtocolError: A response has begun, or a field is malformed.
        """
        name = os.fspath(path)
        opened = open_any(name)
        if opened is None:
            raise Abort("Not Found", 404)
        likes = r.headers.get("accept-encoding")
        opened, found = open_variant(opened, name, likes, open_any)
        with opened.file:
            await deliver_file(r, opened, found, max(chunk_size, 1), headers)
