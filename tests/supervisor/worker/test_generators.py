import gc
import random
from typing import Any

from blazeio_supervisor.worker.fork_safety import find_generators, seed_anew


class Own(random.Random):
    """A kind that an app has made."""


def test_generators_are_seeded_anew() -> None:
    made: list[Any] = [random.Random(1), Own(1)]
    twins = [random.Random(1), Own(1)]
    found = [each for each in find_generators(gc.get_objects()) if each in made]
    assert found == made
    seed_anew(found)
    assert all(
        each.getrandbits(64) != twin.getrandbits(64)
        for each, twin in zip(made, twins, strict=True)
    )


def test_what_has_no_state_is_left_alone() -> None:
    system = random.SystemRandom()
    assert system not in find_generators(gc.get_objects())


def test_one_that_cannot_be_seeded_is_left_as_it_is() -> None:
    class Fixed(random.Random):
        def seed(self, *_: Any) -> None:
            if hasattr(self, "is_made"):
                raise ValueError("it has a fixed seed")
            self.is_made = True

    seed_anew([Fixed()])
