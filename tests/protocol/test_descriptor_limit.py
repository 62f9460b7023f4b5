"""The descriptor limit decides how many connections there can be."""

import resource
from collections.abc import Iterator

import pytest

from blazeio.protocol.process import (
    RESERVED_DESCRIPTORS,
    most_connections,
    raise_descriptor_limit,
)


@pytest.fixture(autouse=True)
def same_limits() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def set_soft(soft: int) -> int:
    """Set the soft limit; return the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return hard


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    hard = set_soft(500)
    assert raise_descriptor_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert raise_descriptor_limit() == hard


def test_a_refusal_leaves_the_limit_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    set_soft(500)
    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        assert raise_descriptor_limit() == 500


def test_some_descriptors_are_left_for_the_app() -> None:
    set_soft(500)
    assert most_connections() == 500 - RESERVED_DESCRIPTORS


def test_a_tiny_limit_still_leaves_a_few_connections() -> None:
    set_soft(RESERVED_DESCRIPTORS + 3)
    assert most_connections() == 16
