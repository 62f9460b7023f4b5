import click
import pytest
from click.testing import CliRunner

from blazeio_supervisor.cli.serve import command
from blazeio_supervisor.cli.verbs import MODULES, verbs
from blazeio_supervisor.config.app_path import VERBS
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
def test_a_verb_imports_neither_the_framework_nor_what_is_slow_to_load() -> None:
    room = "blazeio_supervisor.cli"
    # What has an APP reads its settings.
    names = {*MODULES.values()} - {MODULES["check"], MODULES["unit"]}
    loads = f"for each in {names}: importlib.import_module(each, {room!r})"
    heavy = ("blazeio", "asyncio", "rich", "uvloop", "prometheus_client", "psutil")
    code = (
        f"import importlib, sys, blazeio_supervisor.__main__\n{loads}\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert run_to_exit(["python", "-c", code]).stdout == "[]\n"
