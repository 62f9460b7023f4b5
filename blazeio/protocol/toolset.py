"""``ExtraToolset``: compression, cookies and addresses, for ``r``. Stateless."""

import asyncio
from typing import TYPE_CHECKING, Any

from blazeio.content import codings
from blazeio.content.cookies import serialize_set_cookie
from blazeio.protocol.payload import OFF_LOOP_BYTES

if TYPE_CHECKING:
    from blazeio.protocol.answer import Answer


class ExtraToolset:
    """What a handler often needs beside streaming."""

    __slots__ = ()

    if TYPE_CHECKING:
        transport: asyncio.Transport

        answer: Answer

    async def br(self, data: bytes) -> bytes:
        """Compress with Brotli; off the loop when large."""
        if len(data) <= OFF_LOOP_BYTES:
            return codings.br(data)
        return await asyncio.to_thread(codings.br, data)

    async def gzip(self, data: bytes) -> bytes:
        """Compress with gzip; off the loop when large."""
        if len(data) <= OFF_LOOP_BYTES:
            return codings.gzip(data)
        return await asyncio.to_thread(codings.gzip, data)

    def set_cookie(self, name: str, value: str, **attributes: Any) -> None:
        """Add a Set-Cookie field to the head that was not sent yet.

        Args:
            name: A token (RFC 6265 section 4.1.1).
            value: Quoted where it must be.
            attributes: Those of
                :func:`blazeio.content.cookies.serialize_set_cookie`.

        Raises:
            LocalProtocolError: The head has been prepared, or the cookie is
                malformed.
        """
        self.answer.add_field(
            "Set-Cookie", serialize_set_cookie(name, value, **attributes)
        )

    @property
    def ip_host(self) -> str:
        """The peer's address; "" over a unix socket."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def ip_port(self) -> int:
        """The peer's port; 0 over a unix socket."""
        peer = self.transport.get_extra_info("peername")
        return int(peer[1]) if isinstance(peer, tuple) else 0
