"""Read one response from octets: the tests' own, small, second opinion.

Strict where a server must be exact (CRLF, Content-Length, chunk sizes), so
that a server's framing error is a failing test and not a long wait.
"""

from dataclasses import dataclass


class BadResponseError(AssertionError):
    """The server sent what no client could frame."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it was on the wire.

    Attributes:
        status: The status code.
        reason: The reason phrase; may be empty.
        fields: Name (lower case) and value of each field line, in order.
        body: The content, after the chunked coding was taken off.
        trailers: The trailer section's fields.
        octets: Exactly what the wire carried, head included.
    """

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]]
    octets: bytes

    def field(self, name: str) -> str | None:
        """The value of the only such field; None when there is none."""
        values = self.field_all(name)
        if len(values) > 1:
            raise BadResponseError(f"{name} was sent {len(values)} times: {values}")
        return values[0] if values else None

    def field_all(self, name: str) -> list[str]:
        """Every value of the field, in order."""
        return [value for key, value in self.fields if key == name.lower()]

    @property
    def text(self) -> str:
        """The content as UTF-8."""
        return self.body.decode()


def parse_response(
    octets: bytes, *, method: str = "GET", is_ended: bool = False
) -> Response | None:
    """Parse the response at the start of ``octets``.

    Args:
        octets: What was received so far.
        method: Of the request, since HEAD's response has no body.
        is_ended: The server closed: content without a length ends here.

    Returns:
        The response, its ``octets`` telling how much it took; None when more
        octets are needed.

    Raises:
        BadResponseError: It cannot become a response.
    """
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return None
    status, reason, fields = _parse_head(octets[:end])
    start = end + 4
    framed = _parse_body(octets, start, fields, _may_have_body(method, status))
    if framed is None:
        if not is_ended or _is_framed(fields):
            return None
        framed = (octets[start:], [], len(octets))
    body, trailers, stop = framed
    return Response(status, reason, fields, body, trailers, octets[:stop])


def parse_responses(octets: bytes, *, is_ended: bool = True) -> list[Response]:
    """Every response of a pipeline, in order; nothing may be left over."""
    responses = []
    while octets:
        response = parse_response(octets, is_ended=is_ended)
        if response is None:
            raise BadResponseError(f"cut off in the middle: {octets[:200]!r}")
        responses.append(response)
        octets = octets[len(response.octets) :]
    return responses


Body = tuple[bytes, list[tuple[str, str]], int]


def _parse_head(head: bytes) -> tuple[int, str, list[tuple[str, str]]]:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    code, space, reason = rest.partition(" ")
    if version != "HTTP/1.1" or len(code) != 3 or not code.isdigit() or not space:
        raise BadResponseError(f"status line {status_line!r}")
    return int(code), reason, _parse_fields(lines)


def _parse_fields(lines: list[str]) -> list[tuple[str, str]]:
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line:
            raise BadResponseError(f"field line {line!r}")
        fields.append((name.lower(), value.strip(" \t")))
    return fields


def _may_have_body(method: str, status: int) -> bool:
    return method != "HEAD" and status >= 200 and status not in (204, 304)


def _is_framed(fields: list[tuple[str, str]]) -> bool:
    return any(name in ("content-length", "transfer-encoding") for name, _ in fields)


def _parse_body(
    octets: bytes, start: int, fields: list[tuple[str, str]], has_body: bool
) -> Body | None:
    if not has_body:
        return b"", [], start
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    if lengths and codings:
        raise BadResponseError("both Content-Length and Transfer-Encoding")
    if codings:
        if codings != ["chunked"]:
            raise BadResponseError(f"Transfer-Encoding {codings}")
        return _parse_chunked(octets, start)
    if lengths:
        if len(lengths) > 1 or not lengths[0].isdigit():
            raise BadResponseError(f"Content-Length {lengths}")
        stop = start + int(lengths[0])
        return (octets[start:stop], [], stop) if stop <= len(octets) else None
    return None


def _parse_chunked(octets: bytes, start: int) -> Body | None:
    content = bytearray()
    while True:
        line_end = octets.find(b"\r\n", start)
        if line_end < 0:
            return None
        digits = octets[start:line_end].split(b";")[0]
        try:
            size = int(digits, 16)
        except ValueError:
            raise BadResponseError(f"chunk size {digits!r}") from None
        start = line_end + 2
        if size == 0:
            return _parse_trailers(octets, start, bytes(content))
        if len(octets) < start + size + 2:
            return None
        content += octets[start : start + size]
        start += size + 2
        if octets[start - 2 : start] != b"\r\n":
            raise BadResponseError("a chunk does not end in CRLF")


def _parse_trailers(octets: bytes, start: int, content: bytes) -> Body | None:
    if octets[start : start + 2] == b"\r\n":
        return content, [], start + 2
    end = octets.find(b"\r\n\r\n", start)
    if end < 0:
        return None
    lines = octets[start:end].decode("latin-1").split("\r\n")
    return content, _parse_fields(lines), end + 4


def bug_text(answer: Response) -> str:
    """The text by which a bug of the app is answered: it has the id, and no more."""
    return f"Internal Server Error (id {answer.field('x-request-id')})"
