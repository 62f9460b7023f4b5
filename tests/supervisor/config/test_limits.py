from dataclasses import fields

import pytest

from blazeio.limits import LEAST, Limits
from blazeio_supervisor.config.http import (
    WorkerLimits,
    format_default,
)
from blazeio_supervisor.config.option import Option, list_options
from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings

BOUNDS = list(list_options(WorkerLimits))
each_bound = pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.flag)


def test_each_limit_has_its_option() -> None:
    names = [bound.of for bound in BOUNDS]
    assert len(set(names)) == len(names)
    assert set(names) == {field.name for field in fields(Limits)}


@each_bound
def test_each_default_that_is_said_can_be_typed_and_is_that_default(
    bound: Option,
) -> None:
    read = read_settings(bound.flag, bound.shown_default).bounds
    assert read == {bound.of: getattr(Limits(), bound.of)}


@each_bound
def test_each_least_is_taken_and_nothing_below(bound: Option) -> None:
    least = LEAST.get(bound.of, 0)
    assert Limits(**read_settings(bound.flag, str(least)).bounds)
    for text in (str(least - 1), "x", "nan", "-inf"):
        with pytest.raises(UsageError, match=f"{bound.flag} {text}: expected "):
            read_settings(bound.flag, text)


def test_nothing_given_is_nothing_overridden() -> None:
    assert read_settings().bounds == {}


@pytest.mark.parametrize(
    ("text", "octets"),
    [("0", 0), ("65536", 65536), ("64k", 65536), ("16M", 2**24), ("1G", 2**30)],
)
def test_a_size_may_have_a_letter(text: str, octets: int) -> None:
    settings = read_settings("--max-content-bytes", text)
    assert settings.overrides.limits == {"content_bytes": octets}


@each_bound
def test_only_what_is_unbounded_by_default_may_be_lifted(bound: Option) -> None:
    if bound.shown_default == "none":
        assert read_settings(bound.flag, "none").bounds == {bound.of: None}
    else:
        with pytest.raises(UsageError, match=f"{bound.flag} none: expected "):
            read_settings(bound.flag, "none")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--max-in-flight=0", "0: expected a whole number, 1 or more, or none"),
        ("--max-head-bytes=1x", "1x: expected a size such as 64K or 16M, 1 or more"),
        ("--head-timeout=1e9", "1e9: expected seconds, 0 to 86400"),
        ("--max-connections=1.5", "1.5: expected a whole number, 1 or more, or none"),
    ],
)
def test_the_refusal_says_what_is_expected(option: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(option)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("field", "text"),
    [("head_bytes", "64K"), ("head_timeout_s", "10"), ("in_flight", "none")],
)
def test_a_default_is_written_as_it_is_typed(field: str, text: str) -> None:
    assert format_default(field) == text
