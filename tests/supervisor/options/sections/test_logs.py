import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings


def test_a_log_level_is_read_in_any_case() -> None:
    assert read_settings("--log-level=Warning").log_level == "WARNING"


def test_a_log_level_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="--log-level loud: expected debug, info, wa"):
        read_settings("--log-level=loud")
