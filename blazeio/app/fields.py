"""Header fields as a caller writes them, and the usual ones beside them. Pure.

May import: blazeio.errors.
"""

from collections.abc import Mapping
from typing import Any

from blazeio.errors import FieldInput
from blazeio.wire.serializer import list_field_pairs

Pairs = list[tuple[Any, Any]]


def list_fields(headers: FieldInput | None) -> Pairs:
    """The fields as pairs, in their order.

    Raises:
        LocalProtocolError: They are neither a mapping nor pairs.
    """
    return [] if headers is None else list(list_field_pairs(headers))


def merge_fields(headers: FieldInput | None, usual: Mapping[str, str]) -> Pairs:
    """The caller's fields, and of the usual ones those that it does not name."""
    pairs = list_fields(headers)
    names = {_lower(name) for name, _ in pairs}
    kept = [(name, value) for name, value in usual.items() if name.lower() not in names]
    return kept + pairs


def names_field(pairs: Pairs, name: str) -> bool:
    """Whether a field of this name, in lower case, is among them."""
    return any(_lower(each) == name for each, _ in pairs)


def _lower(name: Any) -> str:
    text: str = name if isinstance(name, str) else name.decode("latin-1")
    return text.lower()
