"""What the documents name is there: files, names of the API, verbs and options."""

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import blazeio as io
from blazeio_supervisor.cli.serve import command
from blazeio_supervisor.cli.verbs import list_verbs, verbs
from blazeio_supervisor.config.command_line import expand
from tests.support.tree import REPOSITORY, iterate_files

DOCUMENTS = [path for path in iterate_files() if path.suffix == ".md"]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
PYTHON = re.compile(r"^```python\n(.+?)^```", re.DOTALL | re.MULTILINE)
CALL = re.compile(r"^(?:\$ )?blazeio-supervisor ([^;&|>\n]+)", re.MULTILINE)
NAMED = re.compile(r"`io\.([\w.]+)")

of_each = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY))
)


@of_each
def test_every_link_leads_to_a_file(path: Path) -> None:
    links = LINK.findall(path.read_text())
    assert [each for each in links if not (path.parent / each).exists()] == []


@of_each
def test_every_name_of_the_front_door_is_one(path: Path) -> None:
    text = path.read_text()
    named = {*NAMED.findall(text), *_list_names(PYTHON.findall(text))}
    assert sorted(each for each in named if not _is_there(each)) == []


def _list_names(blocks: list[str]) -> Iterator[str]:
    """Give ``Deliver.json`` for ``io.Deliver.json``, wherever code says that."""
    for block in blocks:
        # A block may be the inside of a coroutine function.
        within = f"async def f():\n{textwrap.indent(block, '    ')}"
        for node in ast.walk(ast.parse(within)):
            if isinstance(node, ast.Attribute):
                name = ast.unparse(node)
                if name.startswith("io."):
                    yield name.removeprefix("io.")


def _is_there(dotted: str) -> bool:
    owner: object = io
    for part in dotted.strip(".").split("."):
        if not hasattr(owner, part):
            # What an instance has, only its class can show.
            return part in getattr(owner, "__annotations__", {})
        owner = getattr(owner, part)
    return True


@of_each
def test_every_command_is_understood(path: Path) -> None:
    for call in CALL.findall(path.read_text()):
        words = shlex.split(call, comments=True)
        # Each raises where there is no such option.
        if words[0] in list_verbs():
            context = verbs.make_context("blazeio-supervisor", words)
            with context:
                _, verb, rest = verbs.resolve_command(context, words)
                assert verb is not None
                verb.make_context(words[0], rest)
        else:
            command.make_context("blazeio-supervisor", expand(words))
