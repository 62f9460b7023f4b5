"""What PEP 3333 has an app be called with. Pure.

``environ``: a request and its connection as texts. ``wsgi.input``: of a body that has
not arrived yet, a file that waits for it. ``start_response`` may be called late, as
long as it comes before the first octet; twice only with ``exc_info``, which replaces a
head of which nothing has left, and else raises the exception that the app wanted to
answer.
"""

import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, NoReturn
from urllib.parse import unquote_to_bytes

from blazeio.errors import LocalProtocolError
from blazeio.gateways.messages import ResponseStart, write_fields
from blazeio.gateways.scope import RequestFacts, find_raw_path, is_below
from blazeio.wire.field_lines import BoundedCache
from blazeio.wire.headers import Headers

SERVER_SOFTWARE: Final = "blazeio"

# From a name in lower case to its variable; "" for one that must not become one.
_cached_names: Final[BoundedCache[str, str]] = BoundedCache(256)
_LONGEST_NAME_BYTES: Final = 64


def make_environ(facts: RequestFacts, root_path: str) -> dict[str, Any]:
    """Return the variables of a request, without those of ``wsgi.``.

    A field whose name holds an underscore becomes no variable: it would pose as the
    one with a hyphen (``X_Forwarded_For``).

    Args:
        facts: Of the request.
        root_path: What a proxy took away in front of the path, or what the app is
            mounted below.
    """
    # Hot: runs once per request.
    client, server = facts.client, facts.server
    host, port = _name_server(server, facts.scheme)
    path, target = facts.path, facts.target
    environ = {
        "REQUEST_METHOD": facts.method,
        # Every text of an environ stands for octets, one by one as latin-1 (PEP 3333,
        # "Unicode Issues"). The framework decodes them as UTF-8.
        "SCRIPT_NAME": root_path and root_path.encode().decode("latin-1"),
        "PATH_INFO": (
            path
            if not root_path and path.isascii()
            else _find_path_info(facts, root_path)
        ),
        "QUERY_STRING": facts.query,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/" + facts.http_version,
        "SERVER_SOFTWARE": SERVER_SOFTWARE,
        "REMOTE_ADDR": "" if client is None else client[0],
        "REMOTE_PORT": "" if client is None else str(client[1]),
    }
    _add_fields(environ, facts.headers)
    return environ


def move_prefix(environ: dict[str, Any], prefix: str) -> None:
    """Move the beginning of the path to what is in front of the app.

    Args:
        environ: Whose path begins with the prefix.
        prefix: Where the app is mounted.
    """
    octets = prefix.encode().decode("latin-1")
    environ["SCRIPT_NAME"] += octets
    environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(octets)


def _add_fields(environ: dict[str, Any], headers: Headers) -> None:
    """Repeated fields are joined by a comma, cookies as RFC 6265 section 5.4 has it."""
    recent = _cached_names.recent
    for name, value in headers.as_tuple():
        variable = recent.get(name)
        if variable is None:
            variable = _find_variable(name)
        if not variable:
            continue
        if variable in environ:
            separator = "; " if name == "cookie" else ","
            value = f"{environ[variable]}{separator}{value}"
        environ[variable] = value


def _find_variable(name: str) -> str:
    known = _cached_names.recall(name)
    if known is None:
        known = name.upper().replace("-", "_")
        if "_" in name:
            known = ""
        elif name not in ("content-type", "content-length"):
            known = "HTTP_" + known
        if len(name) <= _LONGEST_NAME_BYTES:
            _cached_names.keep(name, known)
    return known


def _find_path_info(facts: RequestFacts, root_path: str) -> str:
    """The path below the app: its decoded octets as latin-1."""
    path = facts.path
    if root_path and is_below(path, root_path):
        path = path[len(root_path) :]
        if path.isascii():
            return path
        raw = unquote_to_bytes(find_raw_path(facts.target, facts.path))
        return raw[len(root_path.encode()) :].decode("latin-1")
    if path.isascii():
        return path
    raw = find_raw_path(facts.target, facts.path)
    return unquote_to_bytes(raw).decode("latin-1")


def _name_server(server: tuple[str, int | None] | None, scheme: str) -> tuple[str, str]:
    """Name and port are never empty (PEP 3333, "environ Variables")."""
    usual = "443" if scheme == "https" else "80"
    if server is None:
        return "localhost", usual
    host, port = server
    return host, usual if port is None else str(port)


class BodyReader:
    """The body of a request, read in the app's thread as it arrives.

    Its end is an empty read, whatever the framing (``wsgi.input_terminated``).

    Args:
        pull: Waits for the next octets; b"" at the end. What it raises goes to the
            app.

    Attributes:
        pull: The same; replaced where the request is over.
    """

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self.pull = pull
        self._held = b""
        self._at = 0
        self._is_over = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many octets, fewer only at the end; all of them without a size."""
        if size is None or size < 0:
            parts = [self._take(len(self._held))]
            while self._fill():
                parts.append(self._take(len(self._held)))
            return b"".join(parts)
        while len(self._held) - self._at < size and self._fill():
            pass
        return self._take(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line with its end, or the first ``size`` octets of it."""
        most = -1 if size is None else size
        if most == 0:
            return b""
        searched = self._at
        while True:
            end = self._held.find(b"\n", searched) + 1
            if end and (most < 0 or end - self._at <= most):
                return self._take(end - self._at)
            if 0 <= most <= len(self._held) - self._at:
                return self._take(most)
            searched_bytes = len(self._held) - self._at
            if not self._fill():
                return self._take(searched_bytes)
            # What was searched once is not searched again: else a line that arrives in
            # many pieces would take the square of their number.
            searched = self._at + searched_bytes

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return all lines; with a hint, about so many octets of them."""
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self) -> None:
        """Do nothing: the body is the server's."""

    def _take(self, size: int) -> bytes:
        octets = self._held[self._at : self._at + size]
        self._at += len(octets)
        if self._at == len(self._held):
            self._held, self._at = b"", 0
        return octets

    def _fill(self) -> bool:
        """Wait for more; whether there is some."""
        if self._is_over:
            return False
        piece = self.pull()
        if not piece:
            self._is_over = True
            return False
        self._held = self._held[self._at :] + piece
        self._at = 0
        return True


ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_STATUS: Final = re.compile(r"([2-5][0-9]{2})(?: [^\r\n]*)?", re.ASCII)


class StartResponse:
    """The head of one response, as the app declares it.

    Args:
        write: What ``start_response`` returns.

    Attributes:
        write: The same; replaced where the request is over.
        start: The head; None until it was declared.
        has_left: Something of the response has left.
    """

    __slots__ = ("has_left", "start", "write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self.start: ResponseStart | None = None
        self.has_left = False

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        """Declare status and fields; nothing of them leaves before the first octet.

        Raises:
            LocalProtocolError: It was called twice, or something is malformed.
            BaseException: That of ``exc_info``, where the head has left.
        """
        if exc_info:
            try:
                if self.has_left:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback has this frame
        elif self.start is not None:
            reason = "start_response was called twice, without exc_info"
            raise LocalProtocolError(reason)
        fields = write_fields(_encode(headers))
        self.start = ResponseStart(_read_status(status), fields, False)
        return self.write


# From what an app says to the code: 0.2x of reading it.
_cached_statuses: Final[BoundedCache[str, int]] = BoundedCache(64)
_LONGEST_STATUS: Final = 64


def _read_status(status: object) -> int:
    if not isinstance(status, str):
        _refuse_status(status)
    known = _cached_statuses.recent.get(status) or _cached_statuses.recall(status)
    if known is not None:
        return known
    match = _STATUS.fullmatch(status)
    if match is None:
        _refuse_status(status)
    code = int(match[1])
    if len(status) <= _LONGEST_STATUS:
        _cached_statuses.keep(status, code)
    return code


def _refuse_status(status: object) -> NoReturn:
    expected = "expected e.g. '200 OK', 200 to 599"
    raise LocalProtocolError(f"status {status!r:.80}: {expected}")


def _encode(headers: object) -> list[tuple[bytes, bytes]]:
    if not isinstance(headers, list):
        kind = type(headers).__name__
        raise LocalProtocolError(f"the headers are a {kind}, expected a list")
    try:
        return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]
    except (AttributeError, TypeError, ValueError) as error:
        reason = "the headers are not pairs of latin-1 text, name and value"
        raise LocalProtocolError(f"{reason}: {error}") from None
