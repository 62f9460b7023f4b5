"""Every exception of blazeio.

* ``BlazeioError``: root; catching it catches all below.

  * ``ProtocolError``: HTTP was broken; carries ``status_hint``.

    * ``RemoteProtocolError``: by the peer. Answered 4xx/5xx, then closed.

      * ``ContentDecodingError``: content is not in the coding that it names.

        * ``DecompressionBombError``: a few octets of it stand for far too many.

    * ``LocalProtocolError``: by our own caller (a handler): a bad field name,
      more content than declared ... Raised before an octet is sent.

  * ``ClientDisconnected``: the peer went away while its content was awaited
    or a response was being written.
  * ``ConfigurationError``: an app or a server was set up wrongly (two routes
    collide, a handler is not a coroutine function ...).

``Abort`` is control flow, not an error, and not below ``BlazeioError``: a
handler raises it to answer at once.

May import: nothing of blazeio.
"""

from collections.abc import Iterable, Mapping

FieldInput = (
    Mapping[str, "str | bytes | int | list[str | bytes | int]"]
    | Iterable[tuple[str | bytes, "str | bytes | int | list[str | bytes | int]"]]
)
"""Header fields as a caller writes them; a list repeats the field."""


class BlazeioError(Exception):
    """Root of all errors of blazeio."""


class ProtocolError(BlazeioError):
    """HTTP was broken.

    Args:
        message: What was wrong, quoting the offending octets.
        status_hint: The status code a server answers with.
    """

    def __init__(self, message: str, status_hint: int = 400) -> None:
        super().__init__(message)
        self.status_hint = status_hint


class RemoteProtocolError(ProtocolError):
    """The peer broke HTTP. The connection is not reusable."""


class ContentDecodingError(RemoteProtocolError):
    """Content is not what its Content-Encoding says, or not whole."""


class DecompressionBombError(ContentDecodingError):
    """Encoded content stands for far more octets than it has."""


class LocalProtocolError(ProtocolError):
    """Our own caller asked for something HTTP cannot say; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 500)


class ClientDisconnected(BlazeioError):  # noqa: N818 - a fact, named for handlers
    """The peer went away before its content was whole, or mid-response."""


class ConfigurationError(BlazeioError):
    """An app or server was set up wrongly; the message says what to change."""


class Abort(Exception):  # noqa: N818 - control flow, named by the seed
    """Answer at once with this status.

    Args:
        message: The body, as text.
        status: The status code, 400 to 599 in the usual case.
        headers: Further fields of the response.
    """

    def __init__(
        self,
        message: str = "Something went wrong",
        status: int = 403,
        headers: FieldInput | None = None,
    ) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status
        self.headers = headers
