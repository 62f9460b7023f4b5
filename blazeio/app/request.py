"""``Request``: the content and the parameters of a request as values.

May import: blazeio.content, blazeio.errors, blazeio.protocol.
"""

from typing import Any

import msgspec

from blazeio.content.forms import Params, parse_urlencoded
from blazeio.errors import Abort
from blazeio.protocol.server import BlazeioServerProtocol

FORM = "application/x-www-form-urlencoded"

_decode = msgspec.json.Decoder().decode


class Request:
    """Read a request. Each is a coroutine that takes ``r``.

    What the client got wrong is an Abort with status 400. Content is collected
    up to ``Limits.collected_bytes`` and kept with the request: a middleware
    and a handler may both ask for it. It cannot be streamed any more then.
    """

    @staticmethod
    async def get_json(r: BlazeioServerProtocol) -> Any:
        """Parse the content as JSON, whatever its Content-Type.

        Raises:
            Abort: 400, it is not JSON.
            RemoteProtocolError: It is too large (413), or broke its framing.
            ClientDisconnected: The client went away before it was whole.
        """
        content = await r.read()
        try:
            return _decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"The content is not valid JSON: {error}"
            raise Abort(message, 400) from error

    @staticmethod
    async def get_params(r: BlazeioServerProtocol) -> Params:
        """Parse the query string.

        Returns:
            A dict of str; of a repeated parameter the last, and all of them by
            its ``get_all(name)``.

        Raises:
            Abort: 400, there are more than 1,000 of them.
        """
        return _parse_form(r.query)

    @staticmethod
    async def body_or_params(r: BlazeioServerProtocol) -> Any:
        """Give the content where it is JSON or a form, else the query string.

        The Content-Type decides. Content of any other type, and content
        without one, is left alone: a handler may still stream it.

        Returns:
            What ``get_json`` gives, or what ``get_params`` gives.

        Raises:
            Abort: 400, the content is not what its type says.
            RemoteProtocolError: It is too large (413), or broke its framing.
            ClientDisconnected: The client went away before it was whole.
        """
        if r.content_length or r.transfer_encoding is not None:
            media_type = _media_type(r)
            if media_type == "application/json" or media_type.endswith("+json"):
                return await Request.get_json(r)
            if media_type == FORM:
                return _parse_form((await r.read()).decode(errors="replace"))
        return _parse_form(r.query)


def _media_type(r: BlazeioServerProtocol) -> str:
    value = r.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()


def _parse_form(text: str) -> Params:
    try:
        return parse_urlencoded(text)
    except ValueError as error:
        raise Abort("Too many fields", 400) from error
