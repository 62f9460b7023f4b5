"""The mutants that may survive, and why each makes no difference that matters.

An explanation names the place, the function and the lines that are new in it, as
``python -m tests.mutants`` shows them; each of the three may be a pattern as those of
``fnmatch``, in which a ``[`` stands for itself. Those of each room have a module of
their own.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import cache

from tests.mutants.explained_client import CLIENT
from tests.mutants.explained_content import CONTENT
from tests.mutants.explained_fleet import FLEET
from tests.mutants.explained_sockets import SOCKETS
from tests.mutants.explained_wire import WIRE
from tests.mutants.explanation import Explained
from tests.mutants.kept import NOTICES, Outcome


def find_explanation(mutant: Outcome) -> Explained | None:
    """Return the explanation of a mutant that has survived."""
    every = (*KINDS, *_list_single())
    return next((each for each in every if _explains(each, mutant)), None)


def find_stale(outcomes: Iterable[Outcome]) -> list[str]:
    """Name each change that is explained but does not survive, or is none any more.

    Those of ``KINDS`` are left out, and those of files that were not looked at.
    """
    places = {each.place for each in outcomes}
    left = [each for each in outcomes if each.became not in NOTICES]
    stale = []
    for each in _list_single():
        looked_at = [place for place in places if _matches(each.place, place)]
        for change in each.changes if looked_at else ():
            only = Explained(each.why, each.place, each.owner, (change,))
            if not any(_explains(only, mutant) for mutant in left):
                where = f"{each.place}: {each.owner}: {change}"
                stale.append(f"explained, but it does not survive: {where}")
    return stale


def _list_single() -> tuple[Explained, ...]:
    return *WIRE, *CONTENT, *CLIENT, *FLEET, *SOCKETS


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
    Explained(
        "Python's own default is big-endian, since 3.11",
        *("*", "*", ("*_bytes(*, )*",)),
    ),
)
