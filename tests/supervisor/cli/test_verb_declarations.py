import click
import pytest

from blazeio_supervisor.cli.verbs import list_verbs
from blazeio_supervisor.errors import UsageError
from tests.supervisor.cli.verb_harness import invoke

WITHOUT_SERVICE = {"check", "unit", "serve", "completion"}


@pytest.mark.parametrize("verb", sorted(list_verbs().keys() - WITHOUT_SERVICE))
def test_the_help_of_each_says_its_exit_codes_and_its_timeout(verb: str) -> None:
    text = invoke(verb, "--help").output
    assert "--control PATH" in text
    assert "--instance NAME" in text
    assert ("--json" in text) is (verb not in ("top", "dashboard", "metrics"))
    assert "6 no service is running" in text
    assert "within 5 s" in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["recycle"], "Missing argument 'SLOT|all'"),
        (["reload", "now"], "unexpected extra argument (now)"),
    ],
)
def test_wrong_usage_is_told(words: list[str], reason: str) -> None:
    error = invoke(*words).exception
    assert isinstance(error, click.UsageError)
    assert reason in error.format_message()


def test_a_place_that_cannot_be_is_told() -> None:
    error = invoke("status", "--control", "@").exception
    assert isinstance(error, UsageError)
    assert str(error).startswith("--control @: write a path")
