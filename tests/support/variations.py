"""Tests of several variations: some of them in each run, the others in the long one."""

from collections.abc import Sequence

import pytest
from _pytest.mark import ParameterSet


def vary(
    names: str | Sequence[str],
    rows: Sequence[object],
    *,
    usual: int = 1,
    ids: Sequence[str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrize a test of a real process, as ``pytest.mark.parametrize`` does.

    Args:
        names: Of the arguments.
        rows: Their values; for several names tuples.
        usual: So many rows, the first ones, are run by ``make test``; the others are
            variations of what those test, and are run by ``make test-long``.
        ids: Of the rows.
    """
    is_single = isinstance(names, str) and "," not in names
    sets = [ParameterSet.extract_from(row, force_tuple=is_single) for row in rows]
    marked = [
        pytest.param(
            *each.values,
            id=each.id,
            marks=[*each.marks, *([pytest.mark.long] if number >= usual else [])],
        )
        for number, each in enumerate(sets)
    ]
    return pytest.mark.parametrize(names, marked, ids=ids)
