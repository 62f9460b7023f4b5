import pytest

from blazeio_supervisor.errors import (
    BindError,
    ExitCode,
    SupervisorError,
    UsageError,
)
from blazeio_supervisor.fleet import reasons


@pytest.mark.parametrize(
    ("error", "code"), [(SupervisorError, 1), (UsageError, 2), (BindError, 5)]
)
def test_each_error_has_its_exit_code(error: type[SupervisorError], code: int) -> None:
    assert error("why").exit_code == code


def test_the_planner_knows_the_same_codes() -> None:
    assert reasons.USAGE == ExitCode.USAGE
    assert reasons.START_FAILED == ExitCode.APP_FAILED
    assert reasons.NOT_IMPORTABLE == ExitCode.NOT_IMPORTABLE
    assert reasons.CANNOT_BIND == ExitCode.CANNOT_BIND
