"""What loop and kernel alone cost: ``python floor_echo.py PORT``.

Reads of one masked frame of 64 octets are answered by a frame of 64 octets,
by nobody looking at them; a request by the head of its response.
"""

import asyncio
import base64
import hashlib
import re
import sys

import uvloop

FRAME = b"\x81\x40" + b"x" * 64
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
ACCEPTED = b"HTTP/1.1 101 Hi\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
RECEIVED = memoryview(bytearray(64 * 1024))


class Echo(asyncio.BufferedProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        return RECEIVED

    def buffer_updated(self, nbytes: int) -> None:
        if RECEIVED[0] == FRAME[0]:
            self.transport.write(FRAME)
        else:
            self._answer(bytes(RECEIVED[:nbytes]))

    def _answer(self, head: bytes) -> None:
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)
        if key is None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()
        else:
            accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
            self.transport.write(ACCEPTED % accept)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
