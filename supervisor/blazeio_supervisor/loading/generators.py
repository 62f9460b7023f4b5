"""Random generators that the import has made: each worker seeds them anew.

A fork copies their state, so all workers would draw the same numbers: the same
tokens, the same sample of requests. Python does so by itself for the functions of
``random``, and for nothing else. A generator whose state no code can reach (in a
closure of C, in a library that is not numpy) goes on as it was copied.
"""

import random
import sys
from typing import Any


def find_generators(objects: list[Any]) -> list[Any]:
    """Find those of ``random`` and of numpy; before a fork.

    Args:
        objects: All that the collector knows.
    """
    numpy: Any = sys.modules.get("numpy.random")
    kinds: tuple[type, ...] = (random.Random,)
    if numpy is not None:
        kinds += (numpy.RandomState, numpy.Generator)
    found = [item for item in objects if issubclass(type(item), kinds)]
    if numpy is not None:
        found.append(numpy.mtrand._rand)
    return [item for item in found if not isinstance(item, random.SystemRandom)]


def seed_anew(generators: list[Any]) -> None:
    """Give each a state that no other process has; what cannot be is left."""
    for each in generators:
        try:
            if hasattr(each, "bit_generator"):
                fresh = type(each.bit_generator)()
                each.bit_generator.state = fresh.state
            else:
                each.seed()
        except Exception:
            pass  # a kind of its own, that cannot be seeded from nothing
