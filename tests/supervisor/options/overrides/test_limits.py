from dataclasses import fields

import pytest

from blazeio.limits import LEAST, Limits
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.overrides.limits import (
    BOUNDS,
    Bound,
    format_bound,
    read_bounds,
)
from tests.supervisor.typed import given

NOT_FOR_OPERATORS = {
    "pipeline_bytes": "memory of a connection against what its app needs",
    "receive_bytes": "likewise",
    "high_water_bytes": "likewise",
    "half_close_grace_s": "how the end of a connection is told",
    "linger_timeout_s": "likewise",
    "linger_bytes": "likewise",
}
"""Limits without an option, each with the reason."""


def test_each_limit_has_an_option_or_a_reason_to_have_none() -> None:
    names = [bound.field for bound in BOUNDS]
    assert len(set(names)) == len(names)
    assert {*names, *NOT_FOR_OPERATORS} == {field.name for field in fields(Limits)}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.option)
def test_each_default_that_is_said_can_be_typed_and_is_that_default(
    bound: Bound,
) -> None:
    assert f"[default: {bound.default}]" in (bound.make_option().help or "")
    read = read_bounds(given(bound.option, bound.default))
    assert read == {bound.field: getattr(Limits(), bound.field)}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.option)
def test_each_least_is_taken_and_nothing_below(bound: Bound) -> None:
    least = LEAST.get(bound.field, 0)
    assert Limits(**read_bounds(given(bound.option, str(least))))
    for text in (str(least - 1), "x", "", "nan", "-inf"):
        with pytest.raises(UsageError, match=f"{bound.option} {text}: expected "):
            read_bounds(given(bound.option, text))


def test_nothing_given_is_nothing_overridden() -> None:
    assert read_bounds(given()) == {}


@pytest.mark.parametrize(
    ("text", "octets"),
    [("0", 0), ("65536", 65536), ("64k", 65536), ("16M", 2**24), ("1G", 2**30)],
)
def test_a_size_may_have_a_letter(text: str, octets: int) -> None:
    assert read_bounds(given("--max-content-bytes", text)) == {"content_bytes": octets}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.option)
def test_only_what_is_unbounded_by_default_may_be_lifted(bound: Bound) -> None:
    if bound.default == "none":
        assert read_bounds(given(bound.option, "none")) == {bound.field: None}
    else:
        with pytest.raises(UsageError, match=f"{bound.option} none: expected "):
            read_bounds(given(bound.option, "none"))


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--max-in-flight=0", "0: expected a number, at least 1, or none"),
        ("--max-head-bytes=1x", "1x: expected a size such as 64K or 16M, at least"),
        ("--head-timeout=1e9", "1e9: expected seconds, at most 86400, at least 0"),
        ("--max-connections=1.5", "1.5: expected a number, at least 1, or none"),
    ],
)
def test_the_refusal_says_what_is_expected(option: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_bounds(given(option))
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("head_bytes", 65536, "64K"),
        ("head_bytes", 1000, "1000"),
        ("head_bytes", 0, "0"),
        ("head_bytes", 3 * 2**30, "3G"),
        ("head_timeout_s", 2.5, "2.5"),
        ("in_flight", None, "none"),
    ],
)
def test_a_bound_is_written_as_it_is_typed(
    field: str, value: float | None, text: str
) -> None:
    assert format_bound(field, value) == text
