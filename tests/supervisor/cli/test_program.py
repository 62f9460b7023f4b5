"""The list of verbs, and what the program imports before it knows what to do."""

import click
import pytest
from click.testing import CliRunner

from blazeio_supervisor.cli.serve import command
from blazeio_supervisor.cli.verbs import list_verbs, verbs
from blazeio_supervisor.ipc import control_api
from blazeio_supervisor.master.control_handlers import ControlHandlers
from blazeio_supervisor.master.guarded_server import Lasting
from blazeio_supervisor.master.metrics import Exposition
from tests.supervisor.cli.verb_harness import VerbHarness
from tests.support.live import run_to_exit

IMPORTED = """
import sys
from blazeio_supervisor.__main__ import main
sys.argv[0] = "blazeio-supervisor"
try:
    main()
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""
SLOW = ("asyncio", "http.client", "rich", "uvloop", "prometheus_client", "psutil")


def test_the_help_lists_every_verb_in_80_columns() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    lines = [line.removeprefix("  ") for line in text.splitlines()]
    for verb in list_verbs().values():
        line = f"  {verb.name:11}  {verb.summary}"
        assert line in lines
        assert len(line) <= 80


def test_each_verb_is_loaded_by_its_name() -> None:
    context = click.Context(verbs)
    for name in list_verbs():
        loaded = verbs.get_command(context, name)
        assert loaded is not None
        assert loaded.name == name
    assert verbs.get_command(context, "dance") is None


async def test_each_endpoint_has_one_handler(verb_harness: VerbHarness) -> None:
    declared = [
        value
        for value in vars(control_api).values()
        if isinstance(value, control_api.ControlEndpoint)
    ]
    exposition = Exposition(verb_harness.service)
    handlers = ControlHandlers(verb_harness.service, exposition, Lasting())
    routes = [endpoint for endpoint, _ in handlers.list_routes()]
    assert len(routes) == len(declared) >= 15
    assert {(each.method, each.path) for each in routes} == {
        (each.method, each.path) for each in declared
    }


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        pytest.param(["check", "--help"], marks=pytest.mark.slow),
        pytest.param(["unit", "--help"], marks=pytest.mark.slow),
        *(
            pytest.param([verb, "--help"], marks=pytest.mark.slow)
            for verb in ("status", "top", "doctor", "reload")
        ),
    ],
    ids=" ".join,
)
def test_help_imports_neither_the_framework_nor_what_is_slow_to_load(
    words: list[str],
) -> None:
    done = run_to_exit(["python", "-c", IMPORTED, *words])
    imported = set(done.stderr.split())
    assert "blazeio_supervisor.log.formats" in imported
    assert not imported & {*SLOW}
    framework = {name for name in imported if name.startswith("blazeio.")}
    assert framework <= {"blazeio.errors", "blazeio.limits"}


@pytest.mark.slow
def test_a_verb_imports_neither_the_framework_nor_asyncio() -> None:
    words = ["status", "--control", "@blazeio-nobody-is-here"]
    done = run_to_exit(["python", "-c", IMPORTED, *words])
    said, imported = done.stderr.splitlines()
    assert "no service is running" in said
    assert not set(imported.split()) & {"blazeio.errors", "asyncio", "rich", "psutil"}
