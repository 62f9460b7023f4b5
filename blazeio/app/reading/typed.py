"""JSON as values, and as values of a type.

May import: blazeio.content, blazeio.errors.
"""

from functools import lru_cache
from typing import Any

import msgspec

from blazeio.content.json_text import decode_undisturbed
from blazeio.errors import Abort

_TYPE_COUNT = 512
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
