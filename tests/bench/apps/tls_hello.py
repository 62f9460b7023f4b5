"""Hello over TLS: ``tls_hello.py LOOP LAYER CERTFILE``; prints its port.

LAYER is whose TLS it is: ``blazeio``, or the event ``loop``'s own under the
same connections.
"""

import asyncio
import socket
import ssl
import sys

import uvloop

from blazeio.limits import Limits
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.acceptor import bind
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings, make_ssl_contexts, make_tls_config

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
LIMITS = Limits(keep_alive_timeout_s=600)


async def answer(r: BlazeioServerProtocol) -> None:
    async for _ in r.pull():
        pass
    r.reply(b"hello")


async def serve(layer: str, settings: TlsSettings) -> None:
    loop = asyncio.get_running_loop()
    server = Server(answer, LIMITS, loop)
    listener = bind("127.0.0.1", 0)
    if layer == "blazeio":
        server.accept_from(listener, tls=make_tls_config(settings))
    else:
        accept_with_tls_of_the_loop(
            loop, server, listener, make_ssl_contexts(settings)[0]
        )
    print(listener.getsockname()[1], flush=True)
    await loop.create_future()


def accept_with_tls_of_the_loop(
    loop: asyncio.AbstractEventLoop,
    server: Server,
    listener: socket.socket,
    context: ssl.SSLContext,
) -> None:
    tasks = set()

    def accept() -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        made = loop.connect_accepted_socket(
            lambda: Http1Connection(server.context), connection, ssl=context
        )
        task = loop.create_task(made)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_reader(listener.fileno(), accept)


if __name__ == "__main__":
    loop_name, layer_name, certfile = sys.argv[1:]
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        runner.run(serve(layer_name, TlsSettings(certfile=certfile)))
