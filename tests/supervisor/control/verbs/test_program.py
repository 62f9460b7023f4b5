import click
import pytest
from click.testing import CliRunner

from blazeio_supervisor.control.verbs.program import MODULES, verbs
from blazeio_supervisor.control.verbs.words import VERBS
from blazeio_supervisor.options.program import command
from tests.support.live import run_to_exit


def test_the_verbs_are_those_that_the_help_lists() -> None:
    assert list(MODULES) == list(VERBS)
    text = CliRunner().invoke(command, ["--help"]).output
    assert all(f"  {verb}" in text and what in text for verb, what in VERBS.items())


def test_each_is_loaded_by_its_name() -> None:
    context = click.Context(verbs)
    for name in VERBS:
        loaded = verbs.get_command(context, name)
        assert loaded is not None
        assert loaded.name == name
    assert verbs.get_command(context, "dance") is None


@pytest.mark.slow
def test_a_verb_imports_neither_blazeio_nor_asyncio() -> None:
    code = (
        "import sys, blazeio_supervisor.__main__;"
        "import blazeio_supervisor.control.verbs.ordering;"
        "print([name for name in ('blazeio', 'asyncio') if name in sys.modules])"
    )
    assert run_to_exit(["python", "-c", code]).stdout == "[]\n"
