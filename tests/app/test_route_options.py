from dataclasses import dataclass

import pytest

from blazeio.app.route import make_named
from blazeio.errors import ConfigurationError


@dataclass
class Bounds:
    width_bytes: int = 1
    height: int = 2


def test_what_is_not_given_has_its_default() -> None:
    assert make_named(Bounds, {"height": 5}, "no") == Bounds(1, 5)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("width", "did you mean width_bytes?"),
        ("colour", "known: width_bytes, height"),
    ],
)
def test_an_unknown_name_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_named(Bounds, {name: 1}, "a box has no side named")
    assert str(caught.value) == f"a box has no side named {name!r}; {hint}"
