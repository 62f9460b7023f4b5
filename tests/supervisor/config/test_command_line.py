import pytest
from click.testing import CliRunner

from blazeio_supervisor.cli.serve import command
from tests.supervisor.typed import configure


@pytest.mark.parametrize(
    ("words", "field", "value", "origin"),
    [
        (["--workers=3"], "workers", 3, "--workers"),
        (["--drain-idle", "0.5"], "drain_idle_s", 0.5, "--drain-idle"),
        (["--no-preload"], "preload", False, "--no-preload"),
        (["--preload"], "preload", True, "--preload"),
        (["--user="], "user", "", "--user"),
    ],
)
def test_what_is_typed_is_read_and_remembered(
    words: list[str], field: str, value: object, origin: str
) -> None:
    given = configure(*words).given[field]
    assert (given.value, given.origin) == (value, origin)


def test_several_are_one_value_with_one_label() -> None:
    given = configure("--bind=:1", "--bind=:2").given["binds"]
    assert given.label == "--bind :1 --bind :2"
    assert given.written == [":1", ":2"]


def test_what_is_not_typed_is_not_given() -> None:
    assert configure().given["binds"].is_default
    assert configure().given["preload"].is_default


@pytest.mark.parametrize("flag", ["--no-preload", "--factory", "--no-control"])
def test_help_lists_the_spelling_that_changes_anything(flag: str) -> None:
    lines = CliRunner().invoke(command, ["--help"]).output.splitlines()
    assert any(line.split()[:1] == [flag] for line in lines)
