import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.times import SPANS, Span, read_spans

DEFAULTS = {span.key: 30.0 for span in SPANS} | {"rollout_timeout": 60.0}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 90_000.0])
def test_a_span_that_cannot_be_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"--timeout .*: expected 1 to 86400 seconds"):
        read_spans({**DEFAULTS, "timeout": value})


def test_a_span_may_be_the_least() -> None:
    assert read_spans({**DEFAULTS, "timeout": 1.0})["timeout_s"] == 1.0


def test_a_reload_must_have_longer_than_its_canary() -> None:
    message = "--rollout-timeout 30: no reload could end, since --canary-hold"
    with pytest.raises(UsageError, match=message):
        read_spans({**DEFAULTS, "rollout_timeout": 30.0})


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.option)
def test_each_span_has_the_default_of_its_setting(span: Span) -> None:
    option = span.make_option()
    assert isinstance(option.default, float)
    spans = read_spans({**DEFAULTS, span.key: option.default})
    assert spans[span.field] == option.default
    assert f"[default: {option.default:g}]" in (option.help or "")
