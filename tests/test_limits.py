import dataclasses
from typing import Any

import pytest

from blazeio.errors import ConfigurationError
from blazeio.limits import LimitOptions, Limits

UNBOUNDED = [each.name for each in dataclasses.fields(Limits) if each.default is None]
BOUNDED = [each.name for each in dataclasses.fields(Limits) if each.default is not None]


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("value", [-1, None, "9"])
def test_a_bound_is_a_number_that_is_not_negative(name: str, value: object) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=rf"limit {name}={value!r}: expected"):
        Limits(**wrong)


@pytest.mark.parametrize("name", UNBOUNDED)
def test_none_lifts_the_bounds_that_may_be_lifted(name: str) -> None:
    lifted: dict[str, Any] = {name: None}
    assert getattr(Limits(**lifted), name) is None


def test_limits_cannot_be_changed_while_they_are_used() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().head_bytes = 1  # type: ignore[misc]


def test_the_largest_target_fits_into_the_largest_head() -> None:
    limits = Limits()
    assert limits.target_bytes < limits.head_bytes
    assert limits.field_bytes < limits.head_bytes


@pytest.mark.parametrize("name", ["high_water_bytes", "in_flight", "progress_window_s"])
def test_a_bound_that_would_stop_everything_is_refused(name: str) -> None:
    nothing: dict[str, Any] = {name: 0}
    with pytest.raises(ConfigurationError, match=rf"limit {name}=0: expected a number"):
        Limits(**nothing)


def test_limits_by_name_have_the_types_of_their_fields() -> None:
    typed = {each.name: each.type for each in dataclasses.fields(Limits)}
    assert LimitOptions.__annotations__ == typed
