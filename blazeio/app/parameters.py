"""Parameters, which are text, as values of a type."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, get_args

import msgspec
from msgspec import inspect as types

from blazeio.content.forms import Params
from blazeio.content.json_text import decode_undisturbed
from blazeio.errors import Abort

_TYPE_COUNT = 512
"""Types whose fields are remembered; to look at one takes 50 us."""

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
"""What check boxes of pages send, beside what msgspec takes: true, false, 1, 0."""
_NOT_FINITE = re.compile(r"(?i)[+-]?(?:nan|inf|infinity)")
"""No comparison holds of them, so no bound would."""

_FIRST_STEP = re.compile(r"\.([^.\[]+)(?:\[(\d+)\])?")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")

Values = dict[str, str | list[str]]


class _Description(msgspec.Struct, frozen=True):
    """What a type wants of each parameter.

    Attributes:
        fields: The types of its fields, by name; empty: it has none.
        every: The type of each value, where the names are left open.
    """

    fields: dict[str, types.Type]
    every: types.Type | None = None

    def type_of(self, name: str) -> types.Type | None:
        """The type of one parameter; None: nothing is said of it."""
        return self.fields.get(name, self.every)


def convert_params(params: Params, expected: Any) -> Any:
    """Make of parameters a value of a type.

    Args:
        params: Of a query string, or of an urlencoded form.
        expected: A ``msgspec.Struct``, a dataclass, a TypedDict, ``dict[str, int]``.
            Of a repeated parameter a field that is a list has all values, another
            one the last.

    Raises:
        Abort: 422, one is missing, or is not what its field wants: the text names
            the parameter, the wanted type and the value.
        TypeError: msgspec does not know the type. The caller's fault.
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
            _blame_one(values, expected, description)
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
    """The types that a type may be."""
    told = _plain(told)
    if isinstance(told, types.UnionType):
        return [_plain(each) for each in told.types]
    return [told]


def _prepare(name: str, texts: list[str], description: _Description) -> str | list[str]:
    """The last text of a parameter, or all of them where a list is wanted."""
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
    """Name a type for who sends the parameter: ``int``, ``str | null``, ``list``."""
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


def _blame_one(values: Values, expected: Any, description: _Description) -> None:
    """Find the value that is not what is wanted of each, and name it.

    Raises:
        Abort: 422, it was found.
    """
    for name, value in values.items():
        try:
            msgspec.convert([value], list[_value_type(expected)], strict=False)  # type: ignore[misc]
        except msgspec.ValidationError as error:
            text = str(error).replace("$[0]", f"$.{name}", 1)
            raise Abort(_explain(text, {name: value}, description), 422) from error


def _value_type(expected: Any) -> Any:
    return get_args(expected)[1]


def _explain(text: str, values: Values, description: _Description) -> str:
    """Name the parameter, what is wanted and the value, of an error of msgspec."""
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


# JSON as values, and as values of a type.


"""Decoders that are kept; one takes 20 us to make, and a few KB."""

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
        return decode_undisturbed(decode, content)
    except msgspec.ValidationError as error:
        message = f"The content is not what is expected here: {error}"
        raise Abort(message, 422) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"The content is not valid JSON: {error}"
        raise Abort(message, 400) from error
