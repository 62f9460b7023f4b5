"""From a file to the peer; over plain TCP past the transport: sendfile(2).

The transport is made to pause its writers whenever it holds anything, so an
open gate says that it holds nothing, and what we give to the socket meanwhile
comes after all that it wrote. Over TLS octets have to be enciphered: they are
read and written in chunks.

May import: asyncio and what the room may.
"""

import asyncio
import os
from typing import TYPE_CHECKING

from blazeio.errors import ClientDisconnected

if TYPE_CHECKING:
    from blazeio.protocol.http1 import Http1Connection
    from blazeio.protocol.request import BlazeioServerProtocol


async def read_pages(file: int, first: int, size: int) -> bytes:
    """Read a part of a file; less of it where the file ends.

    Args:
        file: Descriptor of a regular file.
        first: Offset.
        size: Most octets.
    """
    if is_cached(file, first, size):
        return os.pread(file, size, first)
    return await asyncio.to_thread(os.pread, file, size, first)


async def bring_into_cache(file: int, first: int, size: int) -> None:
    """See to it that a part of a file can be sent without a wait."""
    if not is_cached(file, first, size):
        await asyncio.to_thread(os.pread, file, size, first)


def is_cached(file: int, first: int, size: int) -> bool:
    """Whether a part seems to be in the page cache: its first and last octet.

    Read-ahead fills what is between; where it did not, the loop waits once.
    """
    octet = bytearray(1)
    try:
        os.preadv(file, [octet], first, os.RWF_NOWAIT)
        os.preadv(file, [octet], first + size - 1, os.RWF_NOWAIT)
    except OSError:  # it is not, or nobody knows: tmpfs, network file systems
        return False
    return True


STEP_BYTES = 512 * 1024
"""Most octets of one sendfile: so long others wait, about 0.1 ms."""
WHOLE_BYTES = 64 * 1024
"""A part of no more than this is read, and leaves in one write with its head."""


async def send_file(
    r: "BlazeioServerProtocol", file: int, first: int, size: int, chunk_bytes: int
) -> bool:
    """Send a part of a file as content of a response with a Content-Length.

    Args:
        r: The request; its response was prepared.
        file: Descriptor of a regular file.
        first: Offset of the first octet.
        size: How many, within what is left of the Content-Length.
        chunk_bytes: Octets per read, where the file has to be read.

    Returns:
        False where it ended short, since the file has shrunk.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: More than the declared Content-Length.
    """
    if size > WHOLE_BYTES and r.carrier.can_sendfile:
        message = r.response.message
        assert message is not None  # it was prepared
        message.check(size)
        return await r.carrier.sendfile(file, first, size)
    return await _send_chunks(r, file, first, size, chunk_bytes)


async def _send_chunks(
    r: "BlazeioServerProtocol", file: int, first: int, size: int, chunk_bytes: int
) -> bool:
    end = first + size
    while first < end:
        octets = await read_pages(file, first, min(chunk_bytes, end - first))
        if not octets:
            return False
        first += len(octets)
        await r.write(octets)
    return True


async def send_past_transport(
    connection: "Http1Connection", file: int, first: int, size: int
) -> bool:
    """Send octets of a file by sendfile(2), for ``RequestCarrier.sendfile``."""
    r = connection.request
    message = r.response.message
    assert message is not None  # it was prepared
    transport = connection.transport
    transport.set_write_buffer_limits(high=0)
    try:
        r.response.flush_head(message)
        await r.buffer_overflow_manager()
        return await _copy(connection, file, first, first + size)
    finally:
        if not transport.is_closing():
            high_bytes = r.context.limits.high_water_bytes
            transport.set_write_buffer_limits(high=high_bytes)


async def _copy(connection: "Http1Connection", file: int, first: int, end: int) -> bool:
    r = connection.request
    sock = r.transport.get_extra_info("socket").fileno()
    while first < end:
        step = min(STEP_BYTES, end - first)
        await bring_into_cache(file, first, step)
        if r.transport.is_closing():
            await r.give_way()
        try:
            count = os.sendfile(sock, file, first, step)
        except BlockingIOError:
            await _writable(connection, sock)
            continue
        except (ConnectionError, TimeoutError) as error:  # the transport will see it
            await asyncio.sleep(0)
            raise ClientDisconnected("the client went away") from error
        if not count:
            return False
        first += count
        r.response.count_beside(count)
        if first == end:
            break
        if count < step:
            # The socket's buffer is full: another call would only say so.
            await _writable(connection, sock)
        else:
            await asyncio.sleep(0)  # a peer as fast as we are is not the only one
    return True


async def _writable(connection: "Http1Connection", sock: int) -> None:
    """Sleep while the kernel's buffer is full; the peer has to read meanwhile."""
    connection.timeouts.start_reading()
    await connection.request.context.writability.writable(sock)
    connection.timeouts.stop_reading()
