import pytest

from blazeio_supervisor.cli.program import run_words
from blazeio_supervisor.cli.serve import command, find_sources
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
        ("a:b c", "'a:b c' is not `module:attribute`: 'b c' is not a Python name"),
    ],
)
def test_a_word_that_is_no_app_is_refused_in_one_line(word: str, line: str) -> None:
    typed = command.make_context("it", [word]).params
    with pytest.raises(UsageError) as caught:
        find_sources(typed).read()
    assert str(caught.value) == line
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_verb_with_a_slip_is_told_before_its_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are unknown to the command that serves, which would speak of its own."""
    assert run_words(["relaod", "--wait"]) == ExitCode.USAGE
    line = "'relaod' is neither an APP nor a verb: did you mean `reload`, or the app"
    assert line in capsys.readouterr().err


def test_a_verb_of_the_environment_is_the_name_of_a_module() -> None:
    settings = configure(environ={"BLAZEIO_APP": "status"}).make_settings()
    assert settings.app.module == "status"
