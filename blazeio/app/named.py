"""Records whose fields are given by name, at the front door. Pure.

May import: blazeio.errors.
"""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from blazeio.errors import ConfigurationError

RecordT = TypeVar("RecordT")


def make_named(kind: type[RecordT], given: Mapping[str, object], whose: str) -> RecordT:
    """Make a record of what was given by name; what was not has its default.

    Args:
        kind: A dataclass.
        given: Its fields.
        whose: Names it to who gave them, ``App(...) has no limit named``.

    Raises:
        ConfigurationError: There is no such field, or it cannot be.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ConfigurationError(f"{whose} {name!r}; {hint}")
    return kind(**given)
