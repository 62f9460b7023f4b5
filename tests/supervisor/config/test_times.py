import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "90000", "soon"])
def test_a_span_that_cannot_be_is_refused(text: str) -> None:
    line = f"--timeout {text}: expected seconds, 1 to 86400"
    with pytest.raises(UsageError, match=line):
        read_settings("--timeout", text)


def test_a_span_may_be_the_least() -> None:
    assert read_settings("--timeout=1").timeout_s == 1.0


def test_a_reload_must_have_longer_than_its_canary() -> None:
    message = "--rollout-timeout 30: no reload could end, since --canary-hold"
    with pytest.raises(UsageError, match=message):
        read_settings("--rollout-timeout=30", "--canary-hold=30")
