"""The mutants that may survive, and why each makes no difference that matters.

An explanation names the place, the function and the lines that are new in it, as
``python -m tests.mutants`` shows them; each of the three may be a pattern as those of
``fnmatch``, in which a ``[`` stands for itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cache

from tests.mutants.trying import NOTICES, Outcome


@dataclass(frozen=True, slots=True)
class Explained:
    """Some mutants, and why they may survive."""

    why: str
    place: str
    owner: str
    changes: tuple[str, ...]


def find_explanation(mutant: Outcome) -> Explained | None:
    """Return the explanation of a mutant that has survived."""
    return next((each for each in (*KINDS, *SINGLE) if _explains(each, mutant)), None)


def find_stale(outcomes: Iterable[Outcome]) -> list[str]:
    """Name each change that is explained but does not survive, or is none any more.

    Those of ``KINDS`` are left out, and those of files that were not looked at.
    """
    places = {each.place for each in outcomes}
    left = [each for each in outcomes if each.became not in NOTICES]
    stale = []
    for each in SINGLE:
        looked_at = [place for place in places if _matches(each.place, place)]
        for change in each.changes if looked_at else ():
            only = Explained(each.why, each.place, each.owner, (change,))
            if not any(_explains(only, mutant) for mutant in left):
                where = f"{each.place}: {each.owner}: {change}"
                stale.append(f"explained, but it does not survive: {where}")
    return stale


def _explains(each: Explained, mutant: Outcome) -> bool:
    return (
        _matches(each.place, mutant.place)
        and _matches(each.owner, mutant.owner)
        and any(_matches(change, mutant.change) for change in each.changes)
    )


def _matches(pattern: str, text: str) -> bool:
    return _compile(pattern).match(text) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))


KINDS = (
    Explained(
        "tests match a part of an error's text: more around it is no other text",
        *("*", "*", ('*raise *"XX*XX"*', '*message = "XX*XX"')),
    ),
)
SINGLE: tuple[Explained, ...] = ()
