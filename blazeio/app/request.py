"""``Request``: the content and the parameters of a request as values."""

import asyncio
import inspect
from contextvars import ContextVar
from typing import Any, TypeVar, overload

from blazeio.app.forms import (
    URLENCODED,
    Form,
    Upload,
    Uploads,
    find_uploads,
    has_content,
    media_type_of,
    read_form,
    read_urlencoded,
)
from blazeio.app.parameters import convert_params, decode_json
from blazeio.compat import awaitable, is_awaited
from blazeio.content.cookies import find_cookie
from blazeio.content.forms import Params, parse_urlencoded
from blazeio.errors import Abort, LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol

# Which request the running code belongs to, for who does not pass ``r``.
#
# Nothing is noted when a request begins: its task knows the coroutine that it
# runs, and that one knows its request. So it costs a request nothing, where
# setting a ContextVar costs 0.05 us. One is set when a handler first asks, for
# the tasks that it begins afterwards.


Known = tuple[BlazeioServerProtocol, asyncio.Task[Any]]
"""A request, and the task that handles it: ``r`` serves the next one, too."""

_known: ContextVar[Known | None] = ContextVar("r", default=None)


def find_request(r: BlazeioServerProtocol | None = None) -> BlazeioServerProtocol:
    """Give ``r`` if it is one, else the request of the running handler.

    Raises:
        LocalProtocolError: No handler is running here, or it is over, or it
            runs in a task that was begun before the handler first asked: pass
            ``r``.
    """
    if r is not None:
        return r
    known = _ask_task() or _known.get()
    if known is None or not known[0].handling.runs_in(known[1]):
        raise LocalProtocolError("no request is being handled here: pass r")
    return known[0]


def _ask_task() -> Known | None:
    task = asyncio.current_task()
    work = None if task is None else task.get_coro()
    if task is None or not inspect.iscoroutine(work):
        return None
    found = inspect.getcoroutinelocals(work).get("self")
    if not isinstance(found, BlazeioServerProtocol):
        return None
    if not found.handling.runs_in(task):
        return None
    _known.set((found, task))
    return found, task


T = TypeVar("T")
R = BlazeioServerProtocol


class Request:
    """Read a request: ``await Request.get_json(r)``.

    Within a handler ``r`` may be left out.

    What the client got wrong is an Abort or a RemoteProtocolError: a handler
    that does not catch it answers with its status. JSON and urlencoded forms
    are collected up to ``Limits.collected_bytes`` and kept with the request: a
    middleware and a handler may both ask. Files are streamed, once.

    All raise ClientDisconnected when the client goes away before what they wait
    for has come, RemoteProtocolError when content is too large (413) or breaks
    its framing (400), and LocalProtocolError when ``r`` is left out where no
    handler runs.
    """

    @overload
    @staticmethod
    async def get_json(r: R | None = None) -> Any: ...
    @overload
    @staticmethod
    async def get_json(r: R | None = None, *, type: type[T]) -> T: ...
    @overload
    @staticmethod
    async def get_json(r: R | None = None, *, type: Any) -> Any: ...
    @staticmethod
    async def get_json(r: R | None = None, *, type: Any = None) -> Any:  # noqa: A002
        """Parse the content as JSON, whatever its Content-Type.

        Args:
            r: The request.
            type: What is expected: a ``msgspec.Struct``, a dataclass, a
                TypedDict, ``list[int]`` ... None: anything.

        Returns:
            A value of that type, validated.

        Raises:
            Abort: 400, it is not JSON; 422, it is not of that type: the text
                names the field, as ``$.items[0].price``.
        """
        return decode_json(await find_request(r).read(), type)

    @overload
    @staticmethod
    async def get_params(r: R | None = None) -> Params: ...
    @overload
    @staticmethod
    async def get_params(r: R | None = None, *, type: type[T]) -> T: ...
    @overload
    @staticmethod
    async def get_params(r: R | None = None, *, type: Any) -> Any: ...
    @staticmethod
    async def get_params(r: R | None = None, *, type: Any = None) -> Any:  # noqa: A002
        """Parse the query string.

        Args:
            r: The request.
            type: What is expected: a ``msgspec.Struct``, a dataclass, a TypedDict,
                ``dict[str, int]``. Its fields are converted from text: ``int``,
                ``float``, ``bool``, enums, dates, UUIDs, ``None`` from "null"; one
                that is a list has every value of a repeated parameter. None:
                nothing is converted.

        Returns:
            A value of that type, validated. Without one a dict of str; of a
            repeated parameter the last, and all of them by its ``get_all(name)``.

        Raises:
            Abort: 400, there are more than ``Limits.form_field_count``; 422, one is
                missing or not of its type: the text names the parameter, the wanted
                type and the value.
        """
        params = _parse_query(find_request(r))
        return params if type is None else convert_params(params, type)

    @overload
    @staticmethod
    async def body_or_params(r: R | None = None) -> Any: ...
    @overload
    @staticmethod
    async def body_or_params(r: R | None = None, *, type: type[T]) -> T: ...
    @overload
    @staticmethod
    async def body_or_params(r: R | None = None, *, type: Any) -> Any: ...
    @staticmethod
    async def body_or_params(r: R | None = None, *, type: Any = None) -> Any:  # noqa: A002
        """Give the content where it is JSON or a urlencoded form, else the query.

        The Content-Type decides. Content of any other type, and content
        without one, is left alone: a handler may still stream it, or ask for
        its ``form_data``.

        Args:
            r: The request.
            type: What is expected, as of ``get_json`` and ``get_params``.

        Returns:
            What ``get_json`` gives, or what ``get_params`` gives.

        Raises:
            Abort: 400, the content is not what its type says; 413, it has too
                many fields; 422, it is not of the type that is expected.
        """
        r = find_request(r)
        params: Params | None = None
        if has_content(r):
            media_type = media_type_of(r)
            if media_type == "application/json" or media_type.endswith("+json"):
                return decode_json(await r.read(), type)
            if media_type == URLENCODED:
                params = await read_urlencoded(r)
        if params is None:
            params = _parse_query(r)
        return params if type is None else convert_params(params, type)

    @staticmethod
    async def form_data(r: R | None = None) -> Form:
        """Read a form, urlencoded or multipart, up to its first file.

        The fields before a file are there while the file still arrives; then
        ``r.pull()`` gives the octets of that file, or ``get_upload`` does. A
        handler that aborts before leaves the rest unread. Asked again, it
        gives the same form.

        Returns:
            A dict of str, as of ``get_params``; empty for a request without
            content. Its ``upload`` is the first file, or None.

        Raises:
            Abort: 415, the content is no form.
            RemoteProtocolError: The form is malformed (400), or beyond one of
                the ``Limits.form_*`` and ``part_*`` (413).
        """
        return await read_form(find_request(r))

    @staticmethod
    async def get_form_data(r: R | None = None) -> Form:
        """Read a form up to its first file: the same as ``form_data``."""
        return await read_form(find_request(r))

    @staticmethod
    def get_upload(r: R | None = None) -> Upload:
        """Stream a file: ``async for chunk in Request.get_upload(r)``.

        Of a multipart form this is its next file; other content is itself the
        file. ``upload = await Request.get_upload(r)`` reads on to where its
        ``filename`` and ``content_type`` are known. Not a coroutine: the Upload
        raises what goes wrong once it is read.

        Raises:
            Abort: 400, there is no file, or no other one; from the Upload.
        """
        return find_uploads(find_request(r)).take()

    @staticmethod
    def get_uploads(r: R | None = None) -> Uploads:
        """Stream several files: ``async for upload in Request.get_uploads(r)``.

        What of a file is not read is read past. Afterwards ``form_data`` has
        the fields behind the files too. No file is no error here.
        """
        return Uploads(find_uploads(find_request(r)))

    @staticmethod
    def get_cookie(r: R | None = None, name: str = "") -> str | None:
        """Give the value of a cookie as the client sent it; None without it.

        Not a coroutine, but ``await`` is understood, since it was one in the
        original package. Of two with one name it is the first, which is the one
        with the longer path (RFC 6265 section 5.4).
        """
        value = find_cookie(find_request(r).headers.get("cookie", ""), name)
        return awaitable(value) if is_awaited(1) else value  # type: ignore[return-value]


def _parse_query(r: R) -> Params:
    most = r.context.limits.form_field_count
    try:
        return parse_urlencoded(r.query, most)
    except ValueError as error:
        raise Abort(f"The query string has more than {most} fields", 400) from error
