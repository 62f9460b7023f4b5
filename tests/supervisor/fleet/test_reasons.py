import pytest

from blazeio_supervisor.fleet.reasons import decide_exit_code, describe_exit


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (0, "", "exit code 0"),
        (1, "boom", "exit code 1: boom"),
        (3, "", "exit code 3: the app failed to start"),
        (4, "no module x", "exit code 4: no module x"),
        (-9, "", "killed by SIGKILL"),
        (-9, "out of memory", "killed by SIGKILL: out of memory"),
        (-11, "", "killed by SIGSEGV"),
        (-40, "", "killed by signal 40"),
    ],
)
def test_exit_is_described(status: int, reason: str, words: str) -> None:
    assert describe_exit(status, reason) == words


@pytest.mark.parametrize(
    ("status", "code"),
    [(1, 3), (0, 3), (-9, 3), (None, 3), (3, 3), (4, 4), (2, 2), (5, 5)],
)
def test_exit_code_of_a_failed_first_boot(status: int | None, code: int) -> None:
    assert decide_exit_code(status) == code
