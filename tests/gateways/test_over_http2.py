"""Apps of other interfaces behind HTTP/2: each stream is a request of theirs."""

from typing import Any

from tests.gateways.apps import Receive, Send, asgi, body, start, wsgi
from tests.support.http2 import GET, POST
from tests.support.http2_peer import Http2Peer


async def tell_client(scope: Any, receive: Receive, send: Send) -> None:
    await send(start())
    await send(body(f"{scope['http_version']} {scope['client'][1]}".encode()))


def tell_client_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    content = environ["wsgi.input"].read().decode()
    start_response("200 OK", [])
    told = f"{environ['SERVER_PROTOCOL']} {environ['REMOTE_PORT']} {content}"
    return [told.encode()]


async def test_each_connection_has_its_own_client() -> None:
    """Streams are used again, also by other connections."""
    async with asgi(tell_client) as site:
        for _ in range(3):
            async with await Http2Peer.connect(site.port) as peer:
                port = peer.writer.get_extra_info("sockname")[1]
                for stream_id in (1, 3):
                    answer = await peer.get(stream_id=stream_id)
                    assert answer.body == f"2 {port}".encode()


async def test_a_refusal_on_a_stream_that_is_used_again() -> None:
    async with asgi(tell_client) as site:
        async with await Http2Peer.connect(site.port) as peer:
            assert (await peer.get()).status == 200
        async with await Http2Peer.connect(site.port) as peer:
            peer.ask(1, GET, more=[("host", "another")])
            assert (await peer.answer(1)).status == 400
            port = peer.writer.get_extra_info("sockname")[1]
            assert (await peer.get(stream_id=3)).body == f"2 {port}".encode()


async def test_wsgi() -> None:
    async with wsgi(tell_client_wsgi) as site:
        for _ in range(2):
            async with await Http2Peer.connect(site.port) as peer:
                port = peer.writer.get_extra_info("sockname")[1]
                peer.ask(1, POST, b"content")
                answer = await peer.answer(1)
                assert answer.body == f"HTTP/2 {port} content".encode()


async def test_connect_is_refused_and_the_connection_goes_on() -> None:
    """RFC 9113 section 8.5: it is the stream that would become a tunnel."""
    async with asgi(tell_client) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, [(":method", "CONNECT"), (":authority", "b.example:443")])
        assert (await peer.answer(1)).status == 501
        assert (await peer.get(stream_id=3)).status == 200
