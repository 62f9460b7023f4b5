import pytest

from blazeio_supervisor.errors import (
    BindError,
    SupervisorError,
    UsageError,
    asked_for,
    count_of,
    decide_exit_code,
    describe_exit,
    name_exit,
    was_killed,
)


@pytest.mark.parametrize(
    ("error", "code"), [(SupervisorError, 1), (UsageError, 2), (BindError, 5)]
)
def test_each_error_has_its_exit_code(error: type[SupervisorError], code: int) -> None:
    assert error("why").exit_code == code


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
    if not reason:
        assert describe_exit(status) == words


@pytest.mark.parametrize(
    ("status", "word"),
    [(0, "exit_0"), (3, "exit_3"), (-9, "SIGKILL"), (-40, "signal_40")],
)
def test_an_exit_is_one_of_few_words(status: int, word: str) -> None:
    assert name_exit(status) == word


@pytest.mark.parametrize(
    ("status", "by_others"),
    [
        *((None, False), (0, False), (9, False), (15, False)),
        *((-1, True), (-2, True), (-3, True), (-9, True), (-15, True)),
        *((-6, False), (-7, False), (-11, False)),
    ],
)
def test_who_was_killed_did_not_fail_by_itself(
    status: int | None, by_others: bool
) -> None:
    assert was_killed(status) is by_others


@pytest.mark.parametrize(
    ("status", "code"),
    [(1, 3), (0, 3), (-9, 3), (None, 3), (3, 3), (4, 4), (2, 2), (5, 5)],
)
def test_exit_code_of_a_failed_first_boot(status: int | None, code: int) -> None:
    assert decide_exit_code(status) == code


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 workers"), (1, "1 worker"), (2, "2 workers")]
)
def test_a_noun_follows_its_count(count: int, text: str) -> None:
    assert count_of(count, "worker") == text


def test_who_has_asked_is_named_where_it_is_known() -> None:
    assert asked_for("SIGHUP") == "asked for by SIGHUP"
    assert asked_for("") == "asked for"
