import pytest

from blazeio_supervisor.errors import ExitCode, UsageError
from blazeio_supervisor.options.process import (
    read_app,
    read_log_level,
    read_loop,
    read_workers,
)
from blazeio_supervisor.process.cpus import count_cpus


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("app", "'app' is neither an APP nor a verb: did you mean `app:web`?"),
        (
            "statsu",
            "'statsu' is neither an APP nor a verb: did you mean `status`, or the "
            "app `statsu:web`?",
        ),
        (
            "status",
            "'status' is a verb: the verb comes first, `blazeio-supervisor status ...`",
        ),
        ("a.b", "'a.b' is neither an APP nor a verb: did you mean `a.b:web`?"),
        (
            "a/b",
            "'a/b' is neither an APP nor a verb: write `module:attribute` or "
            "`script.py`",
        ),
        ("a:b c", "'a:b c' is not `module:attribute`: 'b c' is no Python name"),
    ],
)
def test_a_word_that_is_no_app_is_refused_in_one_line(word: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_app(word)
    assert str(caught.value) == line
    assert caught.value.exit_code is ExitCode.USAGE


def test_an_app_is_read() -> None:
    assert read_app("app:web").module == "app"


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("8", 8), ("256", 256)])
def test_a_number_of_workers_is_read(text: str, count: int) -> None:
    assert read_workers(text) == count


def test_auto_is_one_worker_for_each_usable_core() -> None:
    assert read_workers("auto") == count_cpus()


@pytest.mark.parametrize("text", ["0", "-1", "257", "many", "1.5", ""])
def test_a_count_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected 1 to 256, or auto"):
        read_workers(text)


def test_a_loop_that_is_none_is_refused() -> None:
    assert read_loop("asyncio") == "asyncio"
    with pytest.raises(UsageError, match="--loop trio: expected uvloop or asyncio"):
        read_loop("trio")


def test_a_log_level_is_read_in_any_case() -> None:
    assert read_log_level("Warning") == "WARNING"
    with pytest.raises(UsageError, match="--log-level loud: expected one of debug"):
        read_log_level("loud")
