"""TLS under the connection: handshakes, closes, and all that holds without it.

The classes of ``test_disconnects`` and ``test_endings`` are collected here once
more: with this file's ``serve``, they speak TLS.
"""

import asyncio
import gc
import logging
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from blazeio.errors import ClientDisconnected
from blazeio.limits import Limits
from blazeio.protocol.context import (
    CIPHERTEXT_BUFFER_BYTES,
    RECEIVE_BUFFER_BYTES,
    Handler,
)
from blazeio.protocol.tls import RECORD_BYTES, TlsTransport
from tests.protocol.serving import (
    GET,
    Diary,
    R,
    echo,
    forever,
    hello,
    post,
    request,
)
from tests.protocol.stages.test_ending import (  # noqa: F401 - likewise
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
from tests.protocol.tls_serving import TlsServed
from tests.support.clock import scaled, wait_until, within
from tests.support.peer import RawPeer
from tests.support.tls_peer import TlsPeer

Serve = Callable[..., TlsServed]
SOON_S = scaled(0.1)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """``serve(handler, tls={...}, **limits)``: over TLS, on both loops."""
    all_served: list[TlsServed] = []

    def start(
        handler: Handler,
        *,
        raw_handler: Handler | None = None,
        tls: dict[str, Any] | None = None,
        **limits: Any,
    ) -> TlsServed:
        bounds = Limits(**limits)
        served = TlsServed.start_tls(
            handler, bounds, tmp_path, raw_handler=raw_handler, **(tls or {})
        )
        all_served.append(served)
        return served

    yield start
    for served in all_served:
        await served.end()
        assert not served.server.context.handshakes
    await asyncio.sleep(0)


async def facts_of(served: TlsServed, peer: TlsPeer) -> Any:
    """What ``r.tls`` is on this client's connection."""
    await peer.exchange(GET)
    (r,) = served.connections
    return r.tls


async def assert_ended_in_peace(peer: TlsPeer) -> None:
    """The server sends its closure alert, then FIN, and no RST."""
    await peer.read_until_end()
    assert peer.has_closure_alert


async def send_for_ever(peer: TlsPeer) -> None:
    """Octets that are no TLS: nobody deciphers them any more."""
    while True:
        await RawPeer.send(peer, bytes(10_000))


class TestHandshake:
    async def test_r_tells_what_was_agreed(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            assert r.tls is r.tls
            r.reply(f"{r.tls} {r.is_secure} {r.scheme}".encode())

        peer = await serve(handler).connect()
        answer = (await peer.exchange(GET)).decode()
        assert "version='TLSv1.3', cipher='TLS_" in answer
        assert "server_name='localhost', peer_certificate=None) True https" in answer
        assert peer.tls.selected_alpn_protocol() == "http/1.1"

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
        self, serve: Serve, diary: Diary, caplog: pytest.LogCaptureFixture
    ) -> None:
        served = serve(diary.watching(forever))
        peer = await served.connect()
        await peer.send(GET)
        await diary.has("begin")
        await RawPeer.send(peer, b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ssl.SSLError, match="bad record mac"):
            await peer.read_until_end()
        peer.half_close()
        await diary.has("begin", "CancelledError")
        assert not caplog.records

    async def test_after_a_damaged_record_a_silent_client_is_cut(
        self, serve: Serve
    ) -> None:
        served = serve(hello, linger_timeout_s=SOON_S)
        peer = await served.connect()
        await RawPeer.send(peer, b"\x17\x03\x03\x00\x20" + bytes(32))
        await wait_until(lambda: not served.server.connection_count)


class TestClientCertificates:
    async def test_a_required_one_is_told_to_the_handler(self, serve: Serve) -> None:
        served = serve(hello, tls={"client_cert": "required"})
        certfile = served.certificates.issue("client.example")
        context = served.certificates.client_context(certfile)
        peer = await (await served.connect_only()).shake_hands(context)
        facts = await facts_of(served, peer)
        assert facts.peer_certificate["subjectAltName"] == (("DNS", "client.example"),)

    async def test_a_required_one_that_is_missing_is_an_alert_and_no_reset(
        self, serve: Serve
    ) -> None:
        served = serve(hello, tls={"client_cert": "required"})
        peer = await served.connect()  # TLS 1.3: it learns of the refusal later
        await peer.send(post(b"x" * 100_000))
        with pytest.raises(ssl.SSLError, match="certificate required"):
            await peer.read_until_end()

    async def test_one_of_a_stranger_is_an_alert(
        self, serve: Serve, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        served = serve(hello, tls={"client_cert": "optional"})
        others = type(served.certificates)(tmp_path_factory.mktemp("others"))
        context = served.certificates.client_context(others.issue("client.example"))
        peer = await (await served.connect_only()).shake_hands(context)
        with pytest.raises(ssl.SSLError, match="unknown ca"):
            await peer.read_until_end()

    async def test_an_optional_one_may_be_missing(self, serve: Serve) -> None:
        served = serve(hello, tls={"client_cert": "optional"})
        facts = await facts_of(served, await served.connect())
        assert facts.peer_certificate is None


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
        await wait_until(lambda: any(not r.intake.is_open for r in served.connections))
        (r,) = served.connections
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
        self, serve: Serve, diary: Diary
    ) -> None:
        served = serve(diary.watching(forever), receive_bytes=1000)
        peer = await served.connect()
        await peer.send(request("POST", "/", "Content-Length: 200000") + b"x" * 5000)
        await wait_until(lambda: any(not r.intake.is_open for r in served.connections))
        peer.half_close()
        await diary.has("begin", "CancelledError")

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
        (r,) = served.connections
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
        (r,) = served.connections
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
        (r,) = served.connections
        assert not r.gate.is_open
        transport.resume_writing()
        assert (await peer.read_response()).body == b"x"

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
    @pytest.mark.parametrize("is_read", [True, False])
    async def test_a_new_handshake_is_refused_but_not_to_one_that_does_not_read(
        self, serve: Serve, *, is_read: bool
    ) -> None:
        served = serve(hello)
        host, port = served.address
        client = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-tls1_2", "-connect", f"{host}:{port}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert client.stdin is not None
        assert client.stderr is not None
        await wait_until(lambda: served.connections, 5)
        (r,) = served.connections
        if not is_read:
            assert isinstance(r.transport, TlsTransport)
            r.transport.pause_writing()
        client.stdin.write(b"R\n")  # renegotiate
        said = await within(client.stderr.read(), 5)
        await client.communicate()
        assert (b"no renegotiation" in said) is is_read
        await wait_until(lambda: not served.connections)
