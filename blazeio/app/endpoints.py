"""The paths of routes, with ``{name:kind}``; and what a handler must be.

A method whose name starts with ``_`` (not ``__``) is an endpoint, and every ``_`` of
its name becomes ``/``. A parameter ``route="/path"`` overrides the name; a path that
the caller passes overrides both. The original package had these rules.
"""

import inspect
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct

from blazeio.content.forms import serialize_urlencoded
from blazeio.errors import ConfigurationError, LocalProtocolError, find_near

if TYPE_CHECKING:
    from blazeio.protocol.context import Handler

# Kinds of path parameters


_MOST_DIGITS = 300
_DECIMAL = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_UUID = re.compile(r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})")


class Converter(Struct, frozen=True, eq=False):
    """One kind of path parameter.

    Attributes:
        name: What stands behind the colon of ``{id:int}``.
        rank: Where several kinds accept a segment, the lowest rank wins.
        python_type: The type of its values.
        convert: Makes a value of a segment; None: the segment is not of this kind.
    """

    name: str
    rank: int
    python_type: type
    convert: Callable[[str], Any]


def _to_int(segment: str) -> int | None:
    # Without a sign: /items/-1 would surprise a handler that uses it as an index. 300
    # digits fit a float; int() refuses more than 4,300. A pattern would take three
    # times as long as these tests.
    if segment.isdecimal() and segment.isascii() and len(segment) <= _MOST_DIGITS:
        return int(segment)
    return None


def _to_float(segment: str) -> float | None:
    # With a sign, for coordinates; without exponents, "nan" and "inf".
    return float(segment) if _DECIMAL.fullmatch(segment) else None


def _to_uuid(segment: str) -> uuid.UUID | None:
    return uuid.UUID(segment) if _UUID.fullmatch(segment) else None


def _to_str(segment: str) -> str | None:
    return segment or None


REST = Converter("path", 4, str, str)
"""Everything that follows, with its slashes; it may be empty."""

CONVERTERS = {
    each.name: each
    for each in (
        Converter("int", 0, int, _to_int),
        Converter("uuid", 1, uuid.UUID, _to_uuid),
        Converter("float", 2, float, _to_float),
        Converter("str", 3, str, _to_str),
        REST,
    )
}
"""By name, the most specific first."""


class Parameter(Struct, frozen=True):
    """A segment that may be any value of a kind.

    Attributes:
        name: The name of the value.
        converter: Its kind.
    """

    name: str
    converter: Converter


class Pattern(Struct, frozen=True):
    """A declared path.

    Attributes:
        text: As it was written.
        segments: What stands between its slashes.
        names: The names of its parameters, in order; empty: it is an exact path.
        ranks: The rank of each segment; lower is more specific.
    """

    text: str
    segments: tuple[str | Parameter, ...]
    names: tuple[str, ...]
    ranks: tuple[int, ...]

    @property
    def shape(self) -> tuple[str | Converter, ...]:
        """The segments without the names of parameters, which do not tell paths apart.

        Two paths of one shape are the same to a request.
        """
        return tuple(
            part if isinstance(part, str) else part.converter for part in self.segments
        )

    def under(self, prefix: "Pattern") -> "Pattern":
        """Return the path below a prefix.

        Raises:
            ConfigurationError: A parameter of both has the same name.
        """
        return parse_pattern(prefix.text + self.text)

    def covers(self, segments: Sequence[str]) -> bool:
        """Tell whether a request's path is this one, or below it."""
        if len(segments) < len(self.segments):
            return False
        pairs = zip(self.segments, segments, strict=False)
        return all(_accepts(part, segment) for part, segment in pairs)


def _accepts(part: str | Parameter, segment: str) -> bool:
    if isinstance(part, str):
        return part == segment
    return part.converter.convert(segment) is not None


def parse_pattern(text: str) -> Pattern:
    """Read a path as a route declares it.

    Args:
        text: ``/users/{id:int}``; a parameter is a whole segment, one without a kind is
            ``str``, and one of kind ``path`` is the last.

    Raises:
        ConfigurationError: It is no such path; says why.
    """
    if not isinstance(text, str):
        kind = type(text).__name__
        raise ConfigurationError(f"route {text!r:.80}: a {kind}, expected a path: '/x'")
    if not text.startswith("/"):
        way_out = f"expected '/' and a path: write {'/' + text!r}"
        raise ConfigurationError(f"route {text!r}: {way_out}")
    if not text.isprintable() or set(text) & {"?", "#"}:
        message = (
            f"route {text!r}: expected '/' and a path without '?', '#' or control "
            "characters; the query is read by io.Request.get_params, and patterns are "
            "{name} or {name:int}"
        )
        raise ConfigurationError(message)
    segments = tuple(_read_segment(part, text) for part in text.split("/")[1:])
    parameters = [each for each in segments if isinstance(each, Parameter)]
    names = tuple(each.name for each in parameters)
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        message = f"route {text!r}: two parameters of one name, {double!r}"
        raise ConfigurationError(message)
    if any(each.converter is REST for each in parameters if each is not segments[-1]):
        message = f"route {text!r}: a parameter of kind path is the last segment"
        raise ConfigurationError(message)
    return Pattern(text, segments, names, tuple(_rank(each) for each in segments))


def _rank(part: str | Parameter) -> int:
    return -1 if isinstance(part, str) else part.converter.rank


def _read_segment(part: str, text: str) -> str | Parameter:
    _refuse_foreign(part, text)
    if "{" not in part and "}" not in part:
        return part
    name, _, kind = part[1:-1].partition(":")
    if part[:1] != "{" or part[-1:] != "}" or not name.isidentifier():
        message = (
            f"route {text!r}: {part!r} is not a parameter; it is a whole segment, "
            "{name} or {name:kind}"
        )
        raise ConfigurationError(message)
    converter = CONVERTERS.get(kind or "str")
    if converter is None:
        near = find_near(kind, CONVERTERS)
        known = (
            f"did you mean {near[0]}?" if near else f"known: {', '.join(CONVERTERS)}"
        )
        message = f"route {text!r}: no kind of parameter is {kind!r}; {known}"
        raise ConfigurationError(message)
    return Parameter(name, converter)


# What other frameworks write: Flask; Express and Rails; many; Next.js; axum, ASP.NET
# and Go.
_FOREIGN = (
    (re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>"), None),
    (re.compile(r":(?P<name>\w+)(?P<kind>)\??"), None),
    (re.compile(r"\*+(?P<name>\w*)(?P<kind>)"), "path"),
    (re.compile(r"\[(?P<name>\w+)(?P<kind>)\]"), None),
    (re.compile(r"\[\.\.\.(?P<name>\w+)(?P<kind>)\]"), "path"),
    (re.compile(r"\{\*+(?P<name>\w*)(?P<kind>)\}"), "path"),
    (re.compile(r"\{(?P<name>\w+)\.\.\.(?P<kind>)\}"), "path"),
)
_KINDS = {"string": "str", "integer": "int", "number": "float", "any": "str"}


def _refuse_foreign(part: str, text: str) -> None:
    """Refuse a parameter in the notation of another framework.

    As a literal it would be a route that nobody ever requests.
    """
    for pattern, kind in _FOREIGN:
        found = pattern.fullmatch(part)
        if found is not None:
            kind = kind or _KINDS.get(found["kind"] or "", found["kind"])
            name = found["name"] or "rest"
            ours = f"{{{name}:{kind}}}" if kind else f"{{{name}}}"
            raise ConfigurationError(f"route {text!r}: write {ours} instead of {part}")
    if set(part) & set("<>*"):
        message = (
            f"route {text!r}: {part!r} is not a segment; a parameter is a whole one, "
            "{name} or {name:int}, and {rest:path} is all that follows"
        )
        raise ConfigurationError(message)


def parse_prefix(text: str) -> Pattern:
    """Read a path that other paths stand below.

    Raises:
        ConfigurationError: It ends with a slash or with a parameter of kind path, or
            is no path at all.
    """
    if not isinstance(text, str):
        what = f"mount({text!r:.60}, ...)"
        raise ConfigurationError(f"{what}: the prefix comes first, then the app")
    pattern = parse_pattern(text)
    last = pattern.segments[-1]
    if not last or (isinstance(last, Parameter) and last.converter is REST):
        message = f"mount {text!r}: expected a path such as '/api', no '/' at its end"
        raise ConfigurationError(message)
    return pattern


def check_root_path(text: str) -> str:
    """Check the prefix that a proxy removes; "" is none.

    Raises:
        ConfigurationError: It does not begin with a slash, ends with one, or has a
            query.
    """
    if text and (text[0] != "/" or text[-1] == "/" or set(text) & set("?# {}")):
        message = f"root_path {text!r}: expected a path such as '/api'"
        raise ConfigurationError(message)
    return text


# Making paths of routes


_SAFE = "@!$&'()*+,;=:~"
"""Characters that a segment may hold as they are (RFC 3986 section 3.3)."""

_DOTS = (".", "..")


def make_url(name: str, pattern: Pattern, params: Mapping[str, Any]) -> str:
    """Return the path of a route, with further parameters as its query.

    Args:
        name: The name of the route, for the error.
        pattern: Its path.
        params: A value for each of its parameters; further ones are the query, where a
            list repeats one and None leaves it out.

    Raises:
        LocalProtocolError: The caller's fault: a value is missing, or not of its kind.
    """
    missing = [each for each in pattern.names if each not in params]
    if missing:
        reason = f"{pattern.text!r} needs {', '.join(missing)}"
        raise LocalProtocolError(f"url_for({name!r}): {reason}")
    path = "".join(f"/{_write(part, name, params)}" for part in pattern.segments)
    query = {
        key: value
        for key, value in params.items()
        if key not in pattern.names and value is not None
    }
    return f"{path}?{serialize_urlencoded(query, 'url_for')}" if query else path


def _write(part: str | Parameter, name: str, params: Mapping[str, Any]) -> str:
    if isinstance(part, str):
        return quote(part, _SAFE)
    text = str(params[part.name])
    segments = text.split("/") if part.converter is REST else [text]
    if (
        part.converter.convert(text) is None
        or any(each in _DOTS for each in segments)  # clients resolve them
        or (part.converter is not REST and "/" in text)  # %2F is a slash
    ):
        wanted = f"{{{part.name}:{part.converter.name}}}"
        message = f"url_for({name!r}): {part.name}={text!r:.80} is no {wanted}"
        raise LocalProtocolError(message)
    return "/".join(quote(each, _SAFE) for each in segments)


# Handlers, and the paths that their names give


MIDDLEWARE_NAMES = ("before_middleware", "handle_all_middleware", "after_middleware")


def describe(function: Callable[..., Any]) -> str:
    """Name a function and where it is defined, for error messages."""
    target = inspect.unwrap(getattr(function, "func", function))
    name = getattr(target, "__qualname__", None) or repr(target)
    code = getattr(target, "__code__", None)
    if not isinstance(code, CodeType):
        return f"{getattr(target, '__module__', '?')}.{name}"
    return f"{target.__module__}.{name} ({code.co_filename}:{code.co_firstlineno})"


def check_handler(
    function: Callable[..., Any],
    names: Sequence[str] = (),
    *,
    called_with: Sequence[str] = ("r",),
) -> None:
    """Demand an ``async def`` that can be called with ``r``.

    Args:
        function: The handler.
        names: The parameters of its path, which it may take too.
        called_with: The arguments that it is called with, by position.

    Raises:
        ConfigurationError: It cannot be called so; names it and where it is defined.
    """
    if inspect.isasyncgenfunction(function):
        message = (
            f"{describe(function)} yields: write to r instead, or send what a "
            "generator beside it yields by `await io.Deliver.stream(r, pieces())`"
        )
        raise ConfigurationError(message)
    if not _is_coroutine_function(function):
        if inspect.isclass(function):
            way_out = "a class: web.attach(it) adds its methods as routes"
        elif not callable(function):
            way_out = f"a {type(function).__name__}, expected a function"
        else:
            way_out = "must be defined with `async def`"
        raise ConfigurationError(f"{describe(function)} {way_out}")
    _check_parameters(function, names, called_with)


def _check_parameters(
    function: Callable[..., Any], names: Sequence[str], called_with: Sequence[str]
) -> None:
    signature = inspect.signature(function)
    behind_r = [*signature.parameters][len(called_with) :]
    given = ", ".join(called_with)
    taken = {name: None for name in names if name in behind_r}
    try:
        # Binding says what a call would say, in Python's own words, and calls nothing.
        signature.bind(*[None] * len(called_with), **taken)
    except TypeError as error:
        name = describe(function)
        if not signature.parameters:
            own = getattr(function, "__name__", "handler")
            message = f"{name} is called with {given}: write `async def {own}({given})`"
        else:
            known = f" and by name {', '.join(names)}" if names else ""
            message = f"{name} is called with {given}{known}: {error}"
            missing = [each for each in behind_r if each not in names]
            if next(iter(signature.parameters)) == "self" and missing == ["r"]:
                message += "; it is a method: give that of an object"
            elif len(called_with) == 1 and missing and "missing" in str(error):
                message += f"; a parameter of the path is written {{{missing[0]}}}"
        raise ConfigurationError(message) from error


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    # An object with `async def __call__` is a handler too.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - looked at, not called
    )


def decide_path(handler: Callable[..., Any], path: str | None = None) -> Pattern:
    """Decide the path of a handler.

    Args:
        handler: The function, method or callable object.
        path: As the caller passed it; None: the handler's ``route`` parameter, or else
            its name, gives it.

    Raises:
        ConfigurationError: There is no usable path.
    """
    if path is None:
        path = _path_from_parameter(handler)
    if path is None:
        name = getattr(handler, "__name__", None)
        if name is None:
            message = f"{describe(handler)} has no name: give it a path"
            raise ConfigurationError(message)
        path = path_from_name(name)
    try:
        return parse_pattern(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"{describe(handler)}: {error}") from None


def _path_from_parameter(handler: Callable[..., Any]) -> str | None:
    parameter = inspect.signature(handler).parameters.get("route")
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return None
    return str(parameter.default)


def path_from_name(name: str) -> str:
    """Make a path of a name: ``_api_ip`` is ``/api/ip``, ``_`` is ``/``.

    Raises:
        ConfigurationError: The name would give an empty segment.
    """
    path = "/" + name.removeprefix("_").replace("_", "/")
    if "//" in path or (path.endswith("/") and path != "/"):
        message = f"the name {name!r} makes no path: give it one, or route='/path'"
        raise ConfigurationError(message)
    return path


def find_endpoints(instance: object) -> Iterator[tuple[str, "Handler"]]:
    """Iterate over the names and bound methods of endpoints and middlewares.

    Args:
        instance: The methods of its class are searched, inherited ones too, in the
            order of their names.

    Raises:
        ConfigurationError: A method is named like an endpoint and cannot be one.
    """
    owner = type(instance)
    for name in dir(owner):
        if not _names_endpoint(name, owner):
            continue
        # The class is searched, and its attribute is looked at statically: ``getattr``
        # of the instance would run the app's properties while the app is put together.
        attribute = inspect.getattr_static(owner, name)
        if isinstance(attribute, staticmethod | classmethod):
            attribute = attribute.__func__
        if not inspect.isroutine(attribute):
            continue  # a class attribute, a property
        method = getattr(instance, name)
        _check_endpoint(name, method)
        yield name, method


def _names_endpoint(name: str, owner: type) -> bool:
    if name in MIDDLEWARE_NAMES:
        return True
    if not name.startswith("_") or name.startswith("__"):
        return False
    # self.__load is stored as _Owner__load: private, no endpoint.
    return not any(
        name.startswith(f"_{each.__name__.lstrip('_')}__") for each in owner.__mro__
    )


def _check_endpoint(name: str, method: Callable[..., Any]) -> None:
    try:
        names = () if name in MIDDLEWARE_NAMES else decide_path(method).names
        check_handler(method, names)
    except ConfigurationError as error:
        if name in MIDDLEWARE_NAMES:
            raise
        message = (
            f"{error}; a method whose name starts with one underscore is an endpoint: "
            f"call it {name.lstrip('_')} or _{name} if it is none"
        )
        raise ConfigurationError(message) from error
