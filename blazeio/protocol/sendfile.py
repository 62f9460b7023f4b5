"""Files as content of responses, without a wait of the loop for a disk.

Over plain TCP octets go from the file to the socket by sendfile(2), past the transport.
Meanwhile the transport has a high watermark of 0: it pauses its writers whenever it
holds anything. So an open gate says that it holds nothing, and octets that we give to
the socket then come after all that the transport has written. Over TLS, and by carriers
without a socket of their own, files are read and written in chunks.

What is in the page cache is read at once, which costs less than a thread would (4 KiB:
1 us against 30). What is not, or where a file system cannot tell, is read in a thread.
"""

import asyncio
import os
from typing import TYPE_CHECKING

from blazeio.capabilities import HAS_NOWAIT_READS
from blazeio.errors import ClientDisconnected

if TYPE_CHECKING:
    from blazeio.protocol.http1 import Http1Connection
    from blazeio.protocol.request import BlazeioServerProtocol


async def read_pages(file: int, first: int, size: int) -> bytes:
    """Read a part of a file; less than asked for where the file ends.

    Args:
        file: Descriptor of a regular file.
        first: Offset.
        size: Most octets.
    """
    if is_cached(file, first, size):
        return os.pread(file, size, first)
    return await asyncio.to_thread(os.pread, file, size, first)


async def bring_into_cache(file: int, first: int, size: int) -> None:
    """Read a part of a file into the page cache, so that it is sent without a wait."""
    if not is_cached(file, first, size):
        await asyncio.to_thread(os.pread, file, size, first)


def is_cached(file: int, first: int, size: int) -> bool:
    """Whether a part seems to be in the page cache: its first and last octet are.

    The kernel's read-ahead fills what is between. Where it did not, the loop waits for
    the disk once.
    """
    if not HAS_NOWAIT_READS:
        return False
    octet = bytearray(1)
    try:
        os.preadv(file, [octet], first, os.RWF_NOWAIT)
        os.preadv(file, [octet], first + size - 1, os.RWF_NOWAIT)
    except OSError:  # not cached; or it cannot be told, as on tmpfs and over a network
        return False
    return True


STEP_BYTES = 512 * 1024
"""The most octets of one sendfile(2): other connections wait for 0.1 ms meanwhile."""
WHOLE_BYTES = 64 * 1024
"""A part of at most this size is read, and leaves in one write with its head."""


async def send_file(
    r: "BlazeioServerProtocol", file: int, first: int, size: int, chunk_bytes: int
) -> bool:
    """Send a part of a file as content of a response with a Content-Length.

    Args:
        r: The request; its response was prepared.
        file: Descriptor of a regular file.
        first: Offset of the first octet.
        size: How many octets, within what is left of the Content-Length.
        chunk_bytes: Octets per read, where the file has to be read.

    Returns:
        False where the file has shrunk, and ended before.

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
        except (ConnectionError, TimeoutError) as error:
            # The transport finds out by itself, in the next turn of the loop.
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
            await asyncio.sleep(0)  # others have their turn: the peer may be as fast
    return True


async def _writable(connection: "Http1Connection", sock: int) -> None:
    """Sleep while the kernel's buffer is full; the peer has to read meanwhile."""
    connection.timeouts.start_reading()
    await connection.request.context.writability.writable(sock)
    connection.timeouts.stop_reading()
