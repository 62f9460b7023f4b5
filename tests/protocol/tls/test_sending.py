"""sending.py: what is written arrives, and how a connection ends over TLS."""

import asyncio
import gc

import pytest

from blazeio.errors import ClientDisconnected
from blazeio.protocol.tls import TlsTransport
from tests.protocol.serving import (
    GET,
    R,
    hello,
    request,
)
from tests.protocol.tls_serving import (
    Serve,
    assert_ended_in_peace,
    send_for_ever,
)
from tests.support.clock import scaled, wait_until, within
from tests.support.peer import RawPeer
from tests.support.programs import find_program

SOON_S = scaled(0.1)


class TestClosing:
    async def test_an_early_refusal_is_seen_by_a_client_that_still_sends(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"too much", 413)

        peer = await serve(handler).connect()
        await peer.send(request("POST", "/", "Content-Length: 9000000"))
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (413, "close")
        for _ in range(50):  # in the face of closure alert and FIN
            await RawPeer.send(peer, bytes(10_000))
        await assert_ended_in_peace(peer)

    async def test_a_client_that_sends_too_much_after_the_end_is_cut(
        self, serve: Serve
    ) -> None:
        served = serve(hello, linger_bytes=10_000)
        peer = await served.connect()
        await peer.send(b"nonsense\r\n\r\n")
        await assert_ended_in_peace(peer)
        with pytest.raises(ConnectionError):
            await send_for_ever(peer)
        await wait_until(lambda: not served.server.connection_count)

    @pytest.mark.slow
    async def test_an_answer_is_whole_however_slowly_it_is_read(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"x" * 8_000_000)

        served = serve(handler, linger_timeout_s=SOON_S)
        peer = await served.connect(receive_buffer_bytes=4096)
        await peer.send(request("GET", "/", "Connection: close"))
        await asyncio.sleep(5 * SOON_S)  # and its connection is kept for it
        assert served.server.connection_count == 1
        octets = await peer.read_until_end(10)
        assert octets.endswith(b"x")
        assert len(octets) > 8_000_000
        assert peer.has_closure_alert

    @pytest.mark.slow
    async def test_a_client_that_never_reads_is_cut(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            r.reply(b"x" * 8_000_000)

        served = serve(handler, linger_timeout_s=SOON_S, progress_window_s=2 * SOON_S)
        peer = await served.connect(receive_buffer_bytes=4096)
        await peer.send(request("GET", "/", "Connection: close"))
        await wait_until(lambda: not served.server.connection_count)

    async def test_an_answer_in_progress_reaches_a_client_that_has_ended(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await asyncio.sleep(0.01)
            r.reply(b"x" * 100_000)

        peer = await serve(handler).connect()
        await peer.send(GET)
        await peer.send_closure_alert()
        assert (await peer.read_response()).body == b"x" * 100_000
        await assert_ended_in_peace(peer)

    async def test_octets_behind_the_closure_alert_are_dropped(
        self, serve: Serve
    ) -> None:
        served = serve(hello, linger_bytes=100_000)
        peer = await served.connect()
        await peer.send_closure_alert()
        await assert_ended_in_peace(peer)
        with pytest.raises(ConnectionError):
            await send_for_ever(peer)

    async def test_a_cut_answer_ends_without_a_closure_alert(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"some")
            await asyncio.sleep(0)
            raise ClientDisconnected("given up")

        peer = await serve(handler).connect()
        await peer.send(request("GET", version="1.0"))
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        assert not peer.has_closure_alert

    @pytest.mark.slow
    async def test_idle_connections_leave_nothing(self, serve: Serve) -> None:
        served = serve(hello, keep_alive_timeout_s=SOON_S)
        for _ in range(5):
            peer = await served.connect()
            await peer.exchange(GET)
            await assert_ended_in_peace(peer)
            peer.close()
        await wait_until(lambda: not served.server.connection_count)
        gc.collect()
        assert not [each for each in gc.get_objects() if type(each) is TlsTransport]


class TestTransport:
    """What ``asyncio.Transport`` promises."""

    async def test_it_tells_its_state(self, serve: Serve) -> None:
        served = serve(hello)
        peer = await served.connect()
        await peer.exchange(GET)
        (r,) = served.requests
        transport = r.transport
        assert isinstance(transport, TlsTransport)
        assert repr(transport) == "<TlsTransport OPEN>"
        assert transport.is_reading()
        assert not transport.is_closing()
        assert transport.can_write_eof()
        assert transport.get_write_buffer_limits()[1] == 64 * 1024
        assert transport.get_extra_info("peername")[1] == peer.local_port
        assert transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        transport.write(b"")
        assert await peer.read_some() == b"abc"
        transport.close()
        assert transport.is_closing()
        transport.write(b"swallowed")
        assert await peer.read_until_end() == b""

    @pytest.mark.slow
    async def test_it_closes_while_it_is_paused(self, serve: Serve) -> None:
        served = serve(hello)
        peer = await served.connect()
        await peer.exchange(GET)
        (r,) = served.requests
        r.transport.pause_reading()
        r.transport.close()
        await assert_ended_in_peace(peer)
        peer.half_close()
        await wait_until(lambda: not served.connections)

    async def test_writers_wait_for_a_client_that_did_not_read_the_handshake(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"x")

        served = serve(handler)
        peer = await served.connect_only()
        await wait_until(lambda: served.server.context.handshakes)
        (transport,) = served.server.context.handshakes
        transport.pause_writing()  # as its own transport would tell it
        await peer.shake_hands(served.certificates.client_context())
        await peer.send(GET)
        await wait_until(lambda: served.server.in_flight)
        (r,) = served.requests
        assert not r.response.gate.is_open
        transport.resume_writing()
        assert (await peer.read_response()).body == b"x"

    @pytest.mark.parametrize("is_read", [True, False])
    async def test_a_new_handshake_is_refused_but_not_to_one_that_does_not_read(
        self, serve: Serve, *, is_read: bool
    ) -> None:
        served = serve(hello)
        host, port = served.address
        client = await asyncio.create_subprocess_exec(
            *(
                find_program("openssl"),
                "s_client",
                "-tls1_2",
                "-connect",
                f"{host}:{port}",
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert client.stdin is not None
        assert client.stderr is not None
        await wait_until(lambda: served.connections, 5)
        (r,) = served.requests
        if not is_read:
            assert isinstance(r.transport, TlsTransport)
            r.transport.pause_writing()
        client.stdin.write(b"R\n")  # renegotiate
        said = await within(client.stderr.read(), 5)
        await client.communicate()
        assert (b"no renegotiation" in said) is is_read
        await wait_until(lambda: not served.connections)
