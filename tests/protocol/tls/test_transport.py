"""TLS under the connection: handshakes, closes, and all that holds without it.

The classes of ``test_disconnects`` and ``test_closing`` are collected here once
more: with this file's ``serve``, they speak TLS.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from blazeio.protocol.context import (
    CIPHERTEXT_BUFFER_BYTES,
    RECEIVE_BUFFER_BYTES,
)
from blazeio.protocol.tls import RECORD_BYTES
from tests.protocol.serving import (
    GET,
    CallLog,
    R,
    echo,
    forever,
    hello,
    post,
    request,
)
from tests.protocol.test_closing import (  # noqa: F401 - likewise
    TestClosingInStages,
    TestProgress,
    TestRefusedHeads,
    TestTooLargeContent,
    TestUnreadContent,
)
from tests.protocol.test_disconnects import (  # noqa: F401 - collected here too
    TestFin,
    TestHalfClose,
    TestReset,
)
from tests.protocol.tls_serving import (
    Serve,
    assert_ended_in_peace,
    facts_of,
)
from tests.support.clock import scaled, wait_until
from tests.support.peer import RawPeer

SOON_S = scaled(0.1)


class TestHandshake:
    async def test_a_client_that_names_no_server_is_served(self, serve: Serve) -> None:
        served = serve(hello)
        context = served.certificates.client_context()
        context.check_hostname = False
        peer = await (await served.connect_only()).shake_hands(context, None)
        assert (await facts_of(served, peer)).server_name is None

    async def test_tls_1_2_is_spoken(self, serve: Serve) -> None:
        served = serve(hello)
        context = served.certificates.client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        peer = await (await served.connect_only()).shake_hands(context)
        assert (await facts_of(served, peer)).version == "TLSv1.2"

    async def test_older_versions_are_refused_with_an_alert(self, serve: Serve) -> None:
        served = serve(hello, tls={"tls_min": "1.3"})
        context = served.certificates.client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        peer = await served.connect_only()
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            await peer.shake_hands(context)

    async def test_in_single_octets(self, serve: Serve) -> None:
        served = serve(echo)
        peer = await served.connect_only()
        peer.step_bytes = 1
        await peer.shake_hands(served.certificates.client_context())
        assert (await peer.exchange(post(b"x" * 300))).endswith(b"x" * 300)

    async def test_is_counted_while_it_lasts(self, serve: Serve) -> None:
        served = serve(hello, connections=2)
        peer = await served.connect_only()
        await wait_until(lambda: served.server.context.handshakes)
        await wait_until(lambda: served.server.connection_count == 1)
        await peer.shake_hands(served.certificates.client_context())
        await peer.exchange(GET)
        assert not served.server.context.handshakes
        assert served.server.connection_count == 1

    @pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02\x00\x01"])
    async def test_that_is_not_begun_makes_room_at_the_most_connections(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, octets: bytes
    ) -> None:
        monkeypatch.setattr("blazeio.server.acceptor.RETRY_S", 0.05)
        monkeypatch.setattr("blazeio.server.server.SILENCE_S", 0.1)
        served = serve(hello, connections=2)
        for _ in range(4):
            await (await served.connect_plain()).send(octets)
        peer = await served.connect()
        assert (await peer.exchange(GET)).endswith(b"hello")

    @pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02\x00\x01"])
    async def test_that_is_not_finished_is_cut_at_its_deadline(
        self, serve: Serve, caplog: pytest.LogCaptureFixture, octets: bytes
    ) -> None:
        caplog.set_level(logging.DEBUG, "blazeio")
        served = serve(hello, tls={"handshake_timeout_s": SOON_S})
        peer = await served.connect_plain()
        await peer.send(octets)
        assert await peer.read_until_end() == b""
        await wait_until(lambda: not served.server.connection_count)
        (record,) = caplog.records
        assert record.levelno == logging.DEBUG
        assert "it took too long" in record.getMessage()

    @pytest.mark.parametrize("end", [RawPeer.half_close, RawPeer.reset])
    async def test_of_a_client_that_goes_is_forgotten(
        self, serve: Serve, end: Callable[[RawPeer], None]
    ) -> None:
        served = serve(hello)
        peer = await served.connect_plain()
        await wait_until(lambda: served.server.context.handshakes)
        end(peer)
        await wait_until(lambda: not served.server.connection_count)

    async def test_that_is_not_finished_ends_with_the_server(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        peer = await served.connect_plain()
        await wait_until(lambda: served.server.context.handshakes)
        served.server.close()
        assert await peer.read_until_end() == b""
        await wait_until(lambda: not served.server.connection_count)

    async def test_done_while_the_server_drains_has_its_last_stretch(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        peer = await served.connect_only()
        await wait_until(lambda: served.server.context.handshakes)
        served.server.start_draining(SOON_S)
        await peer.shake_hands(served.certificates.client_context())
        await assert_ended_in_peace(peer)


class TestStrangers:
    async def test_plain_http_gets_400(self, serve: Serve) -> None:
        served = serve(hello)
        peer = await served.connect_plain()
        await peer.send(GET)
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (400, "close")
        assert "https://" in response.text
        assert await peer.read_until_end() == b""

    async def test_noise_is_closed_quietly(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        served = serve(hello)
        peer = await served.connect_plain()
        await peer.send(b"\x00\x01\x02noise" * 100)
        await peer.read_until_end()
        peer.half_close()
        await wait_until(lambda: not served.server.connection_count)
        assert not caplog.records  # nothing above DEBUG

    async def test_tls_to_a_plain_port_gets_400(
        self, serve: Serve, tmp_path: Path
    ) -> None:
        served = serve(hello)
        served.server.stop_accepting()
        served.server.accept_from(served.sock)
        peer = await served.connect_only()
        with pytest.raises(ssl.SSLError):
            await peer.shake_hands(served.certificates.client_context())

    async def test_a_damaged_record_ends_the_connection(
        self, serve: Serve, calls: CallLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        served = serve(calls.watching(forever))
        peer = await served.connect()
        await peer.send(GET)
        await calls.has("begin")
        await RawPeer.send(peer, b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ssl.SSLError, match="bad record mac"):
            await peer.read_until_end()
        peer.half_close()
        await calls.has("begin", "CancelledError")
        assert not caplog.records

    async def test_after_a_damaged_record_a_silent_client_is_cut(
        self, serve: Serve
    ) -> None:
        served = serve(hello, linger_timeout_s=SOON_S)
        peer = await served.connect()
        await RawPeer.send(peer, b"\x17\x03\x03\x00\x20" + bytes(32))
        await wait_until(lambda: not served.server.connection_count)


def test_what_one_read_can_give_fits_the_receive_buffer() -> None:
    assert CIPHERTEXT_BUFFER_BYTES + RECORD_BYTES <= RECEIVE_BUFFER_BYTES


class TestOctets:
    @pytest.mark.parametrize("size", [1, 16_384, 16_385, 1_000_000])
    async def test_of_any_size_come_and_go(self, serve: Serve, size: int) -> None:
        peer = await serve(echo).connect()
        content = bytes(i % 251 for i in range(size))
        for _ in range(2):
            sending = asyncio.create_task(peer.send(post(content)))
            assert (await peer.read_response()).body == content
            await sending

    async def test_of_interleaved_uploads_stay_apart(self, serve: Serve) -> None:
        served = serve(echo)
        peers = [await served.connect() for _ in range(20)]
        contents = [bytes([65 + n]) * 200_000 for n in range(20)]
        sending = [
            asyncio.create_task(peer.send(post(content)))
            for peer, content in zip(peers, contents, strict=True)
        ]
        for peer, content in zip(peers, contents, strict=True):
            assert (await peer.read_response()).body == content
        await asyncio.gather(*sending)

    async def test_wait_while_the_handler_does_not_pull(self, serve: Serve) -> None:
        may_pull = asyncio.Event()

        async def handler(r: R) -> None:
            await may_pull.wait()
            r.reply(b"%d" % sum([len(piece) async for piece in r.pull()]))

        served = serve(handler, receive_bytes=10_000)
        peer = await served.connect()
        sending = asyncio.create_task(peer.send(post(b"x" * 20_000_000)))
        await wait_until(
            lambda: any(not each.read_control.is_open for each in served.connections)
        )
        (r,) = served.requests
        assert not sending.done()
        assert r.content.queued_bytes < 100_000
        may_pull.set()
        assert (await peer.read_response()).body == b"20000000"
        await sending

    async def test_that_are_paused_within_a_read_come_later(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await asyncio.sleep(0.01)
            r.reply(b"%d" % len(await r.read()))

        peer = await serve(handler, receive_bytes=1).connect()
        for _ in range(3):
            await peer.send(post(b"x" * 60_000))
            assert (await peer.read_response()).body == b"60000"

    async def test_are_not_enough_for_due_content_when_the_client_has_gone(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever), receive_bytes=1000)
        peer = await served.connect()
        await peer.send(request("POST", "/", "Content-Length: 200000") + b"x" * 5000)
        await wait_until(
            lambda: any(not each.read_control.is_open for each in served.connections)
        )
        peer.half_close()
        await calls.has("begin", "CancelledError")

    async def test_of_a_raw_handler_end_with_the_closure_alert(
        self, serve: Serve
    ) -> None:
        async def raw(r: R) -> None:
            async for octets in r.request():
                await r.writer(octets.upper())
            await r.writer(b"bye")

        peer = await serve(hello, raw_handler=raw).connect()
        await peer.send(b"not http")
        assert await peer.read_some() == b"NOT HTTP"
        await peer.send_closure_alert()
        assert await peer.read_until_end() == b"bye"
        assert peer.has_closure_alert
