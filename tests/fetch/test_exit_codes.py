import pytest

from blazeio import errors
from blazeio.__main__ import FetchExitCode, choose_exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidUrl("x"), 2),
        (errors.ConfigurationError("x"), 2),
        (errors.LocalProtocolError("x"), 2),
        (errors.ResolveError("x"), 3),
        (errors.TlsError("x"), 3),
        (errors.ProxyError("x"), 3),
        (errors.ConnectTimeout("x"), 4),
        (errors.ReadTimeout("x"), 4),
        (errors.InvalidResponse("x"), 5),
        (errors.TooManyRedirects("x"), 5),
        (errors.ServerDisconnected("x"), 5),
        (PermissionError(13, "x"), 6),
    ],
)
def test_each_error_has_its_code(error: Exception, code: int) -> None:
    assert choose_exit_code(error) == code


def test_the_codes_are_those_that_the_help_names() -> None:
    assert [each.value for each in FetchExitCode] == [0, 1, 2, 3, 4, 5, 6, 130]
