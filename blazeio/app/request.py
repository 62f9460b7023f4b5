"""``Request``: the content and the parameters of a request as values.

Content is read by its Content-Type (JSON, a form), parameters and JSON are converted
to the type that a handler names, by ``msgspec``. What the client sent wrong ends the
request with 400 or 422 and a text that names the field.

The functions of ``Request`` take ``r``; without it they find the request of the
running handler. Nothing is recorded for that when a request begins, since each request
would pay for it (setting a ContextVar takes 0.05 us): the running task knows its
coroutine, and the coroutine knows its request. A ContextVar is set when a handler first
asks, for the tasks that this handler starts afterwards.
"""

import asyncio
import dis
import inspect
import re
import sys
from collections.abc import Coroutine, Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar, get_args, overload

import msgspec
from msgspec import inspect as types

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
    refuse_coded,
)
from blazeio.content.field_values import find_cookie
from blazeio.content.forms import Params, decode_without_gc, parse_urlencoded
from blazeio.errors import Abort, LocalProtocolError
from blazeio.protocol.handler_task import HandlerTask
from blazeio.protocol.request import BlazeioServerProtocol

# Parameters as values of a type


_TYPE_COUNT = 512
"""How many types are cached: their fields (50 us to inspect one) and their JSON
decoders (20 us and a few KB each)."""

_SHOWN_CHARACTERS = 80

_LISTS = (
    types.ListType,
    types.SetType,
    types.FrozenSetType,
    types.VarTupleType,
    types.TupleType,
    types.CollectionType,
)
_RECORDS = (
    types.StructType,
    types.DataclassType,
    types.TypedDictType,
    types.NamedTupleType,
)
_TRUTHS = {"on": "true", "yes": "true", "off": "false", "no": "false"}
"""What check boxes of pages send, beside the values that msgspec takes: true, false, 1,
0."""
_NOT_FINITE = re.compile(r"(?i)[+-]?(?:nan|inf|infinity)")
"""Every comparison with them is false, so a bound would not hold."""

_FIRST_STEP = re.compile(r"\.([^.\[]+)(?:\[(\d+)\])?")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")

Values = dict[str, str | list[str]]


class _Description(msgspec.Struct, frozen=True):
    """What a type expects of each parameter.

    Attributes:
        fields: The types of its fields, by name; empty: it has none.
        every: The type of each value, where the names are open.
    """

    fields: dict[str, types.Type]
    every: types.Type | None = None

    def type_of(self, name: str) -> types.Type | None:
        """Return the type of one parameter; None: any."""
        return self.fields.get(name, self.every)


def convert_params(params: Params, expected: Any) -> Any:
    """Convert parameters to a value of a type.

    Args:
        params: Of a query string, or of a urlencoded form.
        expected: A ``msgspec.Struct``, a dataclass, a TypedDict, ``dict[str, int]``.
            Where a parameter is repeated, a field that is a list gets all values, any
            other field the last one.

    Raises:
        Abort: 422, one is missing, or is not of the type of its field: the text names
            the parameter, the expected type and the value.
        TypeError: The caller's fault: msgspec does not know the type.
    """
    description = _describe(expected)
    every: dict[str, list[str]] = {}
    for name, text in params.pairs:
        every.setdefault(name, []).append(text)
    values = {name: _prepare(name, every[name], description) for name in every}
    try:
        return msgspec.convert(values, expected, strict=False)
    except msgspec.ValidationError as error:
        if description.every is not None:
            _name_wrong_value(values, expected, description)
        raise Abort(_explain(str(error), values, description), 422) from error


@lru_cache(_TYPE_COUNT)
def _describe(expected: Any) -> _Description:
    told = _plain(types.type_info(expected))
    if isinstance(told, types.DictType):
        return _Description({}, told.value_type)
    if not isinstance(told, _RECORDS):
        return _Description({})
    return _Description({each.encode_name: each.type for each in told.fields})


def _plain(told: types.Type) -> types.Type:
    return _plain(told.type) if isinstance(told, types.Metadata) else told


def _choices(told: types.Type) -> list[types.Type]:
    """Return the types of a union; of another type, itself."""
    told = _plain(told)
    if isinstance(told, types.UnionType):
        return [_plain(each) for each in told.types]
    return [told]


def _prepare(name: str, texts: list[str], description: _Description) -> str | list[str]:
    """Return the last text of a parameter, or all of them where a list is expected."""
    told = description.type_of(name)
    if told is None:
        return texts[-1]
    choices = _choices(told)
    lists = [each for each in choices if isinstance(each, _LISTS)]
    texts = texts if lists else texts[-1:]
    items = [
        _choices(t) for t in (getattr(each, "item_type", None) for each in lists) if t
    ]
    flat = [*choices, *(each for item in items for each in item)]
    texts = [_prepare_text(text, name, flat) for text in texts]
    return texts if lists else texts[0]


def _prepare_text(text: str, name: str, choices: list[types.Type]) -> str:
    kinds = {type(each) for each in choices}
    if types.StrType in kinds:
        return text
    if types.BoolType in kinds:
        text = _TRUTHS.get(text.lower(), text)
    if types.FloatType in kinds and _NOT_FINITE.fullmatch(text):
        raise Abort(_tell(name, "expected a finite float", text), 422)
    return text


def _name(told: types.Type) -> str:
    """Name a type for the client: ``int``, ``str | null``, ``list``."""
    return " | ".join(_name_one(each) for each in _choices(told))


def _name_one(told: types.Type) -> str:
    if isinstance(told, types.EnumType):
        return _list_values(each.value for each in told.cls)
    if isinstance(told, types.LiteralType):
        return _list_values(told.values)
    if isinstance(told, types.CustomType):
        return told.cls.__name__
    if isinstance(told, _LISTS):
        return "list"
    if isinstance(told, types.NoneType):
        return "null"
    return type(told).__name__.removesuffix("Type").lower()


def _list_values(values: Iterable[object]) -> str:
    return " | ".join(f"{each!r:.{_SHOWN_CHARACTERS}}" for each in values)


def _name_wrong_value(values: Values, expected: Any, description: _Description) -> None:
    """Find the value of an open name that is of a wrong type, and name it.

    Raises:
        Abort: 422, it was found.
    """
    for name, value in values.items():
        try:
            msgspec.convert([value], list[_value_type(expected)], strict=False)  # type: ignore[misc]
        except msgspec.ValidationError as error:
            # msgspec names a value of a dict only as ``$[...]``, so each is converted
            # alone, to find the one that is meant.
            text = str(error).replace("$[0]", f"$.{name}", 1)
            raise Abort(_explain(text, {name: value}, description), 422) from error


def _value_type(expected: Any) -> Any:
    return get_args(expected)[1]


def _explain(text: str, values: Values, description: _Description) -> str:
    """Turn an error of msgspec into a text with parameter, expected type and value."""
    reason, at, place = text.rpartition(" - at `")
    if not at:
        reason, place = text, ""
    place = place.removesuffix("`").removeprefix("key in ").removeprefix("$")
    if (missing := _MISSING.fullmatch(reason)) and not place:
        told = description.type_of(missing[1])
        wanted = "" if told is None else f", expected {_name(told)}"
        return f"The parameter {missing[1]!r} is missing{wanted}"
    if (unknown := _UNKNOWN.fullmatch(reason)) and not place:
        return f"There is no parameter {unknown[1]!r:.{_SHOWN_CHARACTERS}}"
    step = _FIRST_STEP.match(place)
    if step is None or step[1] not in values:
        return f"The parameters are not what is expected here: {text}"
    name, value = step[1], values[step[1]]
    if isinstance(value, list) and step[2] is not None and int(step[2]) < len(value):
        value = value[int(step[2])]
    if reason.startswith("Expected "):
        said = reason.removeprefix("Expected ").partition(", got ")[0]
        return _tell(name, f"expected {said}", value)
    told = description.type_of(name)
    wanted = reason if told is None else f"expected {_name(told)}"
    return _tell(name, wanted, value)


def _tell(name: str, wanted: str, value: object) -> str:
    wanted = wanted.replace("`", "").replace("array", "list")
    return f"The parameter {name!r}: {wanted}, got {value!r:.{_SHOWN_CHARACTERS}}"


# JSON as values, and as values of a type

_decode = msgspec.json.Decoder().decode


@lru_cache(_TYPE_COUNT)
def _decoder_of(expected: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(expected)


def decode_json(content: bytes, expected: Any = None) -> Any:
    """Parse JSON.

    Args:
        content: UTF-8.
        expected: A type that msgspec knows: a Struct, a dataclass, a TypedDict,
            ``list[int]`` ... None: whatever comes.

    Raises:
        Abort: 400, it is not JSON; 422, it is not of that type: the text says
            which field, as ``$.items[0].price``.
        TypeError: msgspec does not know the type.
    """
    decode = _decode if expected is None else _decoder_of(expected).decode
    try:
        return decode_without_gc(decode, content)
    except msgspec.ValidationError as error:
        message = f"The content is not what is expected here: {error}"
        raise Abort(message, 422) from error
    # RecursionError: arrays within arrays, deeper than Python's stack. The client has
    # chosen that, so it is no bug of ours.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"The content is not valid JSON: {error}"
        raise Abort(message, 400) from error


def _decode_of(r: BlazeioServerProtocol, content: bytes, expected: Any) -> Any:
    """Parse the content of a request; where that fails, it may be compressed: 415."""
    try:
        return decode_json(content, expected)
    except Abort:
        refuse_coded(r)
        raise


# ``await`` before what is no coroutine any more


_AWAITS = dis.opmap["GET_AWAITABLE"]
_CACHE = dis.opmap.get("CACHE", 0)
_STEP = 2
"""The size of one instruction of CPython, octets."""

T = TypeVar("T")


def is_awaited(depth: int) -> bool:
    """Tell whether the caller's caller awaits what is returned now.

    Some functions were coroutines in the original package and are plain
    functions now. A caller that still writes ``await`` gets an awaitable: see
    docs/coming-from/original-package.md.

    Args:
        depth: How many frames above the caller of this function it was called.
    """
    frame = sys._getframe(depth + 1)
    code = frame.f_code.co_code
    place = frame.f_lasti + _STEP
    while place < len(code) and code[place] == _CACHE:
        place += _STEP
    return place < len(code) and code[place] == _AWAITS


def awaitable(value: T) -> Coroutine[Any, Any, T]:
    """Make an awaitable of a value."""

    async def give() -> T:
        return value

    return give()


# The request of the running code


Known = tuple[BlazeioServerProtocol, asyncio.Task[Any]]
"""A request, and the task that handles it: ``r`` serves later requests, too."""

_known: ContextVar[Known | None] = ContextVar("r", default=None)


def find_request(r: BlazeioServerProtocol | None = None) -> BlazeioServerProtocol:
    """Return ``r`` if it is given, else the request of the running handler.

    Raises:
        LocalProtocolError: No handler is running here, or it is over, or it runs in a
            task that was started before the handler first asked: pass ``r``.
    """
    r = r or find_running()
    if r is None:
        raise LocalProtocolError("no request is being handled here: pass r")
    return r


def find_running() -> BlazeioServerProtocol | None:
    """Return the request of the running handler, if there is one: for loggers."""
    try:
        known = _ask_task() or _known.get()
    except RuntimeError:
        return None  # no loop runs in this thread
    if known is None or not known[0].handler_task.runs_in(known[1]):
        return None
    return known[0]


def _ask_task() -> Known | None:
    task = asyncio.current_task()
    work = None if task is None else task.get_coro()
    if task is None or not inspect.iscoroutine(work):
        return None
    found = inspect.getcoroutinelocals(work).get("self")
    if not isinstance(found, HandlerTask) or not found.runs_in(task):
        return None
    _known.set((found.request, task))
    return found.request, task


R = BlazeioServerProtocol


class Request:
    """Read a request: ``await Request.get_json(r)``.

    ``get_json`` (``type=T`` validates; 422 names the field), ``get_params``,
    ``body_or_params``, ``form_data``, ``get_upload``, ``get_uploads``, ``get_cookie``.
    Within a handler ``r`` may be left out.

    What the client did wrong is an Abort or a RemoteProtocolError: a handler that does
    not catch it answers with its status. JSON and urlencoded forms are collected up to
    ``Limits.collected_bytes`` and kept with the request: a middleware and a handler may
    both read them. Files are streamed, once.

    All methods raise ClientDisconnected when the client goes away before what they wait
    for has come, RemoteProtocolError when content is too large (413) or breaks its
    framing (400), and LocalProtocolError when ``r`` is left out where no handler runs.
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
            type: What is expected: a ``msgspec.Struct``, a dataclass, a TypedDict,
                ``list[int]`` ... None: anything.

        Returns:
            A value of that type, validated.

        Raises:
            Abort: 400, it is not JSON; 415, it is compressed; 422, it is not of that
                type: the text names the field, as ``$.items[0].price``.
        """
        r = find_request(r)
        return _decode_of(r, await r.read(), type)

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
                ``float``, ``bool``, enums, dates, UUIDs, ``None`` from "null"; a field
                that is a list has every value of a repeated parameter. None: nothing is
                converted.

        Returns:
            A value of that type, validated. Without a type a dict of str; where a
            parameter is repeated its last value, and all of them by ``get_all(name)``.

        Raises:
            Abort: 400, there are more than ``Limits.form_field_count``; 422, one is
                missing or not of its type: the text names the parameter, the expected
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
        """Return the content where it is JSON or a urlencoded form, else the query.

        The Content-Type decides. Content of any other type, and content without one, is
        not read: a handler may still stream it, or read its ``form_data``.

        Args:
            r: The request.
            type: What is expected, as of ``get_json`` and ``get_params``.

        Returns:
            What ``get_json`` or ``get_params`` returns.

        Raises:
            Abort: 400, the content is not what its type says; 413, it has too many
                fields; 415, it is compressed; 422, it is not of the type that is
                expected.
        """
        r = find_request(r)
        params: Params | None = None
        if has_content(r):
            media_type = media_type_of(r)
            if media_type == "application/json" or media_type.endswith("+json"):
                return _decode_of(r, await r.read(), type)
            if media_type == URLENCODED:
                params = await read_urlencoded(r)
        if params is None:
            params = _parse_query(r)
        return params if type is None else convert_params(params, type)

    @staticmethod
    async def form_data(r: R | None = None) -> Form:
        """Read a form, urlencoded or multipart, up to its first file.

        The fields before a file are there while the file still arrives; then
        ``r.pull()`` or ``get_upload`` gives the octets of that file. A handler that
        aborts before leaves the rest unread. Repeated calls return the same form.

        Returns:
            A dict of str, as of ``get_params``; empty for a request without content.
            Its ``upload`` is the first file, or None.

        Raises:
            Abort: 415, the content is no form, or compressed.
            RemoteProtocolError: The form is malformed (400), or beyond one of the
                ``Limits.form_*`` and ``part_*`` (413).
        """
        return await read_form(find_request(r))

    @staticmethod
    async def get_form_data(r: R | None = None) -> Form:
        """Read a form up to its first file: the same as ``form_data``."""
        return await read_form(find_request(r))

    @staticmethod
    def get_upload(r: R | None = None) -> Upload:
        """Stream a file: ``async for chunk in Request.get_upload(r)``.

        Of a multipart form this is the next file; other content is itself the file.
        ``upload = await Request.get_upload(r)`` reads on until its ``filename`` and
        ``content_type`` are known. This is not a coroutine: errors are raised when the
        Upload is read.

        Raises:
            Abort: 400, there is no file, or no other one; when the Upload is read.
        """
        return find_uploads(find_request(r)).take()

    @staticmethod
    def get_uploads(r: R | None = None) -> Uploads:
        """Stream several files: ``async for upload in Request.get_uploads(r)``.

        The unread rest of a file is skipped. Afterwards ``form_data`` has the fields
        behind the files too. A request without a file is no error here.
        """
        return Uploads(find_uploads(find_request(r)))

    @staticmethod
    def get_cookie(r: R | None = None, name: str = "") -> str | None:
        """Return the value of a cookie as the client sent it; None without it.

        This is not a coroutine, but may be awaited, since it was one in the original
        package. Of two cookies with one name it is the first, which has the longer path
        (RFC 6265 section 5.4).
        """
        value = find_cookie(find_request(r).headers.get("cookie", ""), name)
        return awaitable(value) if is_awaited(1) else value  # type: ignore[return-value]


def _parse_query(r: R) -> Params:
    most = r.context.limits.form_field_count
    try:
        return parse_urlencoded(r.query, most)
    except ValueError as error:
        raise Abort(f"The query string has more than {most} fields", 400) from error
