"""What raw servers do, for the tests of the client."""

from tests.support.raw_server import Script, Visitor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
ANNOUNCED = {"Transfer-Encoding": "chunked"}


def reply(content: bytes, *fields: str) -> bytes:
    """A whole response."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(content)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + content


def answer(*octets: bytes) -> Script:
    """Answer each request of a connection with the next of these, then close."""

    async def script(visitor: Visitor) -> None:
        for each in octets:
            await visitor.read_request()
            await visitor.send(each)

    return script
