from typing import Any

import pytest

from blazeio.app.dispatch import Middlewares
from blazeio.errors import ConfigurationError


async def one(r: Any) -> None: ...
async def two(r: Any) -> None: ...


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("before_middleware", "before"),
        ("handle_all_middleware", "fallback"),
        ("after_middleware", "after"),
    ],
)
def test_each_kind_keeps_the_order_they_were_added_in(name: str, kind: str) -> None:
    middlewares = Middlewares()
    middlewares.add(name, one)
    middlewares.add(name, two)
    assert getattr(middlewares, kind) == [one, two]


def test_what_is_no_handler_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="async def"):
        Middlewares().add("before_middleware", lambda r: None)


def test_none_is_added_once_sealed() -> None:
    middlewares = Middlewares()
    middlewares.seal()
    with pytest.raises(ConfigurationError, match=r"one \(.*: .* it is too late"):
        middlewares.add("before_middleware", one)
