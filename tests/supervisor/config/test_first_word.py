import pytest

from blazeio_supervisor.config.app_path import read_app
from blazeio_supervisor.errors import ExitCode, UsageError
from tests.supervisor.typed import configure


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "statsu",
            "'statsu' is neither an APP nor a verb: did you mean `status`, or the "
            "app `statsu:web`?",
        ),
        (
            "status",
            "'status' is a verb: the verb comes first, `blazeio-supervisor status ...`",
        ),
        (
            "help",
            "'help' is neither an APP nor a verb: write `blazeio-supervisor --help`",
        ),
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
        configure(word)
    assert str(caught.value) == line
    assert caught.value.exit_code is ExitCode.USAGE


def test_an_app_is_read() -> None:
    assert read_app("app:web").module == "app"
    assert read_app("a.b").module == "a.b"
