"""A server that answers 200 to everything: what the corpus must not accept."""

import asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    octets = b""
    while received := await reader.read(65536):
        octets += received
        if count := octets.count(b"\r\n\r\n"):
            writer.write(OK * count)
            octets = b""
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"lax: serving on http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main())
