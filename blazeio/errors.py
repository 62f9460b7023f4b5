"""Every exception of blazeio.

* ``BlazeioError``: root; catching it catches all below.

  * ``ProtocolError``: HTTP was broken; carries ``status_hint``.

    * ``RemoteProtocolError``: by the peer. Answered 4xx/5xx, then closed.

    * ``LocalProtocolError``: by our own caller (a handler): a bad field name,
      more content than declared ... Raised before an octet is sent.

      * ``InvalidArgument``: an argument is of a wrong type; also a TypeError.

    * ``InvalidResponse``: by a server that we asked; also a RequestError.

      * ``ContentDecodingError``: content is not in the coding that it names.

        * ``DecompressionBombError``: a few octets of it stand for far too many.

      * ``RedirectError``: a redirect that cannot or must not be followed.

        * ``TooManyRedirects``: each led to another.

  * ``PeerGone``: the peer went away.

    * ``ClientDisconnected``: a client, while its content was awaited or a
      response was being written.
    * ``ServerDisconnected``: a server, before its response was whole, or our
      request; also a RequestError.

  * ``RequestError``: a request of ours, by ``Session``, came to nothing.

    * ``InvalidUrl``: our caller's fault; nothing was sent.
    * ``ConnectError``: there was no connection, so nothing was sent.

      * ``ResolveError``: the host has no address.
      * ``ProxyError``: a proxy does not connect to it.
      * ``TlsError``: the server is not who it should be, or does not speak TLS.

    * ``RequestTimeout``: it took too long; also a TimeoutError.

      * ``PoolTimeout``, ``ConnectTimeout``: nothing was sent.
      * ``WriteTimeout``, ``HeadTimeout``, ``ReadTimeout``: the server did not
        read the request, begin the response, or go on with it.
      * ``TotalTimeout``: all of it together.

    * ``AnsweredEarly``: the server has answered before the request was whole,
      and wants no more of it; the answer can be read.
    * ``SessionClosed``: our caller's fault: the session was closed before.
    * ``StatusError``: the status is 4xx, 5xx or above, and ``raise_for_status``
      was asked.

  * ``ConfigurationError``: an app or a server was set up wrongly (two routes
    collide, a handler is not a coroutine function ...).

``Abort`` is control flow, not an error, and not below ``BlazeioError``: a
handler raises it to answer at once.
"""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

FieldInput = (
    Mapping[str, "str | bytes | int | list[str | bytes | int]"]
    | Iterable[tuple[str | bytes, "str | bytes | int | list[str | bytes | int]"]]
)
"""Header fields as a caller writes them; a list repeats the field."""


class BlazeioError(Exception):
    """Root of all errors of blazeio."""


class ProtocolError(BlazeioError):
    """HTTP was broken, by the peer or by the caller.

    Args:
        message: What was wrong, quoting the offending octets.
        status_hint: The status code a server answers with.
    """

    def __init__(self, message: str, status_hint: int = 400) -> None:
        super().__init__(message)
        self.status_hint = status_hint


class RemoteProtocolError(ProtocolError):
    """The peer broke HTTP. The connection is not reusable."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something that HTTP cannot express; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 500)


class InvalidArgument(LocalProtocolError, TypeError):  # noqa: N818 - as InvalidUrl
    """The caller's fault: an argument is of a type that cannot be used.

    The message names the argument, what is expected, and the type that was given;
    never the value, which may be a secret.
    """


class PeerGone(BlazeioError):  # noqa: N818 - a fact, named for handlers
    """The other side of a connection went away."""


class ClientDisconnected(PeerGone):
    """The client went away before its content was whole, or mid-response."""


def is_disconnect(error: BaseException | None) -> bool:
    """Tell whether it is ClientDisconnected, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_disconnect(each) for each in error.exceptions)
    return isinstance(error, ClientDisconnected)


class RequestError(BlazeioError):
    """A request of the client came to nothing; the kind says whose fault it was."""


class ServerDisconnected(PeerGone, RequestError):  # noqa: N818 - a fact
    """The server closed before its response, or our request, was whole."""


class InvalidResponse(RequestError, RemoteProtocolError):  # noqa: N818 - a fact
    """The server broke HTTP; the connection is closed."""

    def __init__(self, message: str) -> None:
        RemoteProtocolError.__init__(self, message, 502)


class ContentDecodingError(InvalidResponse):
    """Content is not what its Content-Encoding says, or not whole."""


class DecompressionBombError(ContentDecodingError):
    """Encoded content stands for far more octets than it has."""


class RedirectError(InvalidResponse):
    """A redirect that cannot be followed, or that nobody should follow."""


class TooManyRedirects(RedirectError):  # noqa: N818 - so named by every client
    """Each redirect led to another, up to the bound."""


class InvalidUrl(RequestError, ValueError):  # noqa: N818 - named for its cause
    """The caller's fault: it is not a URL that a request can be sent to."""


class ConnectError(RequestError):
    """No connection could be made: refused, unreachable; nothing was sent."""


class ResolveError(ConnectError):
    """The host's name has no address."""


class ProxyError(ConnectError):
    """A proxy between does not connect to the server; nothing was sent to it."""


class TlsError(ConnectError):
    """The handshake failed, usually because the certificate is not trusted."""


class RequestTimeout(RequestError, TimeoutError):  # noqa: N818 - as TimeoutError
    """It took too long; the connection is closed."""


class PoolTimeout(RequestTimeout):
    """No connection became free in time; nothing was sent."""


class ConnectTimeout(RequestTimeout, ConnectError):  # noqa: N818 - as TimeoutError
    """No connection was made in time; nothing was sent."""


class WriteTimeout(RequestTimeout):
    """The server did not go on reading the request."""


class HeadTimeout(RequestTimeout):
    """The server did not begin to answer in time."""


class ReadTimeout(RequestTimeout):
    """The server did not go on with its content in time."""


class TotalTimeout(RequestTimeout):
    """The request as a whole took too long."""


class AnsweredEarly(RequestError):  # noqa: N818 - a fact, named for writers
    """The server answered before the request was whole: no more is sent.

    Raised where the request is written; the response can still be read.
    """


class SessionClosed(RequestError):  # noqa: N818 - a fact
    """The caller's fault: the session was closed before."""


class StatusError(RequestError):
    """The server refused, or failed; ``raise_for_status`` raises it.

    Args:
        message: With URL, status and reason phrase.
        response: The response, a ``ClientResponse``; its content can be read while its
            block runs.

    Attributes:
        status_code: 400 to 999; from 600 on it is to be treated as 500.
        response: See above.
    """

    def __init__(self, message: str, status_code: int, response: Any) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.response = response


class ConfigurationError(BlazeioError):
    """An app or server was set up wrongly; the message says what to change."""


class Abort(Exception):  # noqa: N818 - control flow, named by the seed
    """Answer at once with this status.

    ``raise io.Abort(text, status, headers)``, anywhere in a handler or a middleware.

    Args:
        message: The body, as text.
        status: The status code, 400 to 599 in the usual case.
        headers: Further fields of the response.
        json: Sent as JSON instead of the text, whatever the client prefers: what
            msgspec encodes. None: the text is sent.

    Raises:
        LocalProtocolError: The text is a number or no text at all, or the status is
            none of a final response.
    """

    when_unraised: ClassVar["Callable[[Abort], None] | None"] = None
    """Called for each one that was dropped and never raised; set by an app."""

    def __init__(
        self,
        message: str = "Something went wrong",
        status: int = 403,
        headers: FieldInput | None = None,
        *,
        json: Any = None,
    ) -> None:
        _check_abort(type(self).__name__, message, status)
        super().__init__(message, status)
        self.message = message
        self.status = status
        self.headers = headers
        self.json = json

    def __del__(self) -> None:
        """Report one that was never raised: ``raise`` was forgotten."""
        if self.__traceback__ is None and hasattr(
            self, "json"
        ):  # its __init__ has finished
            note = type(self).when_unraised
            if note is not None:
                note(self)


def find_near(word: str, known: Iterable[str], nearness: float = 0.6) -> list[str]:
    """Return the one of the known words that was probably meant, or none.

    ``difflib`` is imported here, since most processes never need it.
    """
    from difflib import get_close_matches

    return get_close_matches(word, known, 1, nearness)


def _check_abort(name: str, message: object, status: object) -> None:
    shown = f"{name}({message!r:.80}, {status!r:.80})"
    if isinstance(message, int):
        text = status if isinstance(status, str) else _find_phrase(message)
        way_out = f"write {name}({text!r:.80}, {int(message)})"
        raise LocalProtocolError(f"{shown}: the text comes first: {way_out}")
    if not isinstance(message, str | Exception):
        kind = type(message).__name__
        raise LocalProtocolError(f"{shown}: the text is of type {kind}, expected a str")
    if not is_final_status(status):
        raise LocalProtocolError(f"{shown}: {describe_status(status)}")


def _find_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "what is wrong"


def is_final_status(status: object) -> bool:
    """Tell whether it is the number of a final response (RFC 9110 section 15)."""
    return (
        isinstance(status, int)
        and not isinstance(status, bool)
        and 200 <= status <= 599
    )


def describe_status(status: object) -> str:
    """Explain on one line what is wrong with a status."""
    return f"status {status!r:.80}: expected a number, 200 to 599"
