"""Octets that make a pattern or a parser slow, and what they cost.

An attack on a pattern is a prefix, a pump that is repeated, and a suffix with
which it cannot match. All three are made of what the pattern itself names: one
example of each literal, set and group in it, alone and in pairs.

Costs are those of the thread's own clock, so that a busy machine changes them
little, and are judged by their growth: four times as long an input may take four
times as long, not sixteen.
"""

import importlib
import itertools
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

PARSER: Any = importlib.import_module("re._parser")

SHORT, MIDDLE, LONG = 18, 512, 4096
"""Characters: the first finds exponential growth, the others that of a power."""
SUSPICIOUS_S = 100e-6
"""At MIDDLE; what is linear takes 5 to 20 us, what is quadratic 500."""
MOST_GROWTH = 8.0
"""Of the cost, from LONG / 4 to LONG characters."""
LEAST_SLOW_S = 0.5e-3
"""A smaller cost at LONG is not an attack."""
TRIALS = 3
"""Where the first finds growth: a busy machine may have slowed that one down."""
ENDINGS = ("", "\0", "!", '"', "\n", "\\", " ", "é", "x")
MOST_ATTACKS = 1200
MOST_TOKENS = 14


def measure(work: Callable[[], object], rounds: int = 1) -> float:
    """The CPU seconds of the fastest of some rounds; its errors are no matter."""
    best = float("inf")
    for _ in range(rounds):
        started_at = time.thread_time()
        try:
            work()
        except Exception:
            pass  # it was refused: only what that took counts
        best = min(best, time.thread_time() - started_at)
    return best


def is_superlinear(work: Callable[[str], object], attack: tuple[str, str, str]) -> bool:
    """Whether the work grows faster than an input of this shape."""
    prefix, pump, suffix = attack

    def cost(size: int, rounds: int) -> float:
        text = prefix + pump * max(size // len(pump), 2) + suffix
        return measure(lambda: work(text), rounds)

    if cost(SHORT, 1) > SUSPICIOUS_S and cost(SHORT, 3) > 20 * SUSPICIOUS_S:
        return True
    if cost(MIDDLE, 1) < SUSPICIOUS_S:
        return False
    slow = cost(LONG, 3)
    return slow > LEAST_SLOW_S and slow > MOST_GROWTH * cost(LONG // 4, 5)


def find_attack(
    work: Callable[[str], object],
    tokens: Sequence[str],
    *,
    most_attacks: int = MOST_ATTACKS,
) -> tuple[str, str, str] | None:
    """An attack under which the work grows faster than its input."""
    for attack in make_attacks(tokens, most_attacks):
        if all(is_superlinear(work, attack) for _ in range(TRIALS)):
            return attack
    return None


def make_attacks(
    tokens: Sequence[str], most_attacks: int
) -> Iterator[tuple[str, str, str]]:
    """Prefixes, pumps and suffixes; the same ones in each run."""
    pumps = [*tokens, *map("".join, itertools.permutations(tokens, 2))]
    every = list(itertools.product(["", *tokens], pumps, ENDINGS))
    if len(every) > most_attacks:
        # each pump at least once, bare; of the rest a sample
        bare = [("", pump, ending) for pump in pumps for ending in ("", "\0")]
        every = bare + random.Random(1).sample(every, most_attacks)
    yield from every


def find_tokens(pattern: "re.Pattern[Any]") -> list[str]:
    """One example of each part of a pattern, the longer ones first."""
    source = pattern.pattern
    text = source if isinstance(source, str) else source.decode("latin-1")
    tree = PARSER.parse(text, pattern.flags & (re.VERBOSE | re.DOTALL))
    found: dict[str, None] = {}
    _collect(tree, found)
    tokens = sorted((each for each in found if each), key=len, reverse=True)
    whole, single = tokens[: MOST_TOKENS // 2], [t for t in tokens if len(t) == 1]
    return list(dict.fromkeys([*single[: MOST_TOKENS - len(whole)], *whole]))


def _collect(tree: Any, found: dict[str, None]) -> str:
    """An example of a sequence of parts; those of each part go to ``found``."""
    examples = []
    for name, value in tree:
        example = _example(str(name), value, found)
        found.setdefault(example[:16])
        examples.append(example)
    whole = "".join(examples)
    found.setdefault(whole[:32])
    return whole


def _example(name: str, value: Any, found: dict[str, None]) -> str:
    match name:
        case "LITERAL":
            return chr(value)
        case "NOT_LITERAL":
            return "a" if value != ord("a") else "b"
        case "ANY":
            return "a"
        case "IN":
            return _member(value, found)
        case "BRANCH":
            branches = [_collect(branch, found) for branch in value[1]]
            return branches[0]
        case "SUBPATTERN":
            return _collect(value[3], found)
        case "ATOMIC_GROUP":
            return _collect(value, found)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, _, body = value
            repeats: int = max(1, min(least, 8))
            return _collect(body, found) * repeats
        case "ASSERT" | "ASSERT_NOT":
            _collect(value[1], found)
    return ""


_CATEGORIES = {
    "CATEGORY_SPACE": " ",
    "CATEGORY_DIGIT": "7",
    "CATEGORY_WORD": "w",
    "CATEGORY_NOT_SPACE": "s",
    "CATEGORY_NOT_DIGIT": "d",
    "CATEGORY_NOT_WORD": "-",
}


def _member(members: Any, found: dict[str, None]) -> str:
    """A member of a set; of a negated one a letter, and its members are tokens."""
    examples: list[str] = []
    is_negated = False
    for name, value in members:
        match str(name):
            case "NEGATE":
                is_negated = True
            case "LITERAL":
                examples.append(chr(value))
            case "RANGE":
                examples.append(chr(value[0] if value[0] >= 32 else value[1]))
            case "CATEGORY":
                examples.append(_CATEGORIES.get(str(value), "w"))
    if not is_negated:
        found.update(dict.fromkeys(examples[:4]))
        return examples[0]
    found.update(dict.fromkeys(examples))
    return next(c for c in "abc7 -" if c not in examples)
