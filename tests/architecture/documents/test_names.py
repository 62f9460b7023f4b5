"""What documents name is there: files, events, options, variables, bounds, defaults."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from blazeio.app.middleware import CookieSessions
from blazeio.client.settings import Timeouts
from blazeio.server.tls import TlsSettings
from blazeio_supervisor.cli.serve import command
from blazeio_supervisor.cli.verbs import list_verbs, verbs
from blazeio_supervisor.config.settings import OPTIONS
from blazeio_supervisor.log.formats import EVENTS
from tests.support.tree import REPOSITORY, iterate_files, iterate_modules

NOW = [
    path
    for path in iterate_files()
    if path.suffix == ".md" and path.name != "CHANGELOG.md"
]
"""Those that speak of what is, not of what was."""
SHORT_FOR = [
    REPOSITORY / folder
    for folder in (".", "blazeio", "supervisor", "supervisor/blazeio_supervisor")
]
"""Folders that documents leave out where they name a file of the packages."""
OF_READERS = {
    "app.py",
    "asgi.py",
    "main.py",
    "test_app.py",
    "conftest.py",
    "blazeio.toml",
    "web.service",
}
"""Files that whoever reads has, or makes."""
CODE = re.compile(r"`([^`\n]+)`|^```[^\n]*\n(.+?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"[\w-][\w./-]*\.(?:py|md|json|toml|service|socket|conf|yaml|yml)")
FOLDER = re.compile(
    r"(?:blazeio|deploy|docs|examples|supervisor|systemd|tests)/[\w/-]*"
)
EVENT = re.compile(r"event=(\w+)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
VARIABLE = re.compile(r"\bBLAZEIO_[A-Z_]+\b")
CONSTANTS = re.compile(r"((?:`[A-Z_]+`(?:, | and )?)+) of `([\w/.]+\.py)`")
OTHERS_OPTIONS = {
    "--content-bytes": "the measurement of idle connections",
    "--daemon": "is not there, and docs say why",
    "--dist": "pytest",
    "--editable": "pip",
    "--file": "docker",
    "--force-reinstall": "pip",
    "--help": "every program",
    "--host": "understood, as --bind",
    "--no-tags": "an example",
    "--now": "systemctl",
    "--pid": "py-spy",
    "--port": "understood, as --bind",
    "--publish": "docker",
    "--read-only": "docker",
    "--signal": "docker",
    "--strict": "mypy",
    "--suite": "the benchmarks",
    "--svg": "the benchmarks",
    "--tag": "docker",
    "--time": "docker",
    "--tmpfs": "docker",
    "--upgrade": "pip",
}
IN_WORDS = {"Python's", "in certfile"}
"""Defaults that are told by where they come from."""
VERBS = {*list_verbs(), "blazeio-supervisor"}
OTHERS_VARIABLES = {
    "BLAZEIO_TEST_TIME_SCALE",
    "BLAZEIO_TEST_NO_SKIP",
    "BLAZEIO_COMPILE",
    "BLAZEIO_PURE",
}

MESSAGES_IN_PARTS = {
    "No matching distribution found for blazeio-supervisor": "pip",
    "killed by SIGKILL": "the name of the signal",
    "see blazeio-supervisor --help": "the name of the program",
}
"""Messages that do not stand in our sources as they are read, and what is in them."""

of_each = pytest.mark.parametrize(
    "path", NOW, ids=lambda path: str(path.relative_to(REPOSITORY))
)


def find_code(path: Path) -> Iterator[str]:
    """Iterate over what a document shows as code, spans and blocks."""
    for span, block in CODE.findall(path.read_text()):
        yield span or block


@of_each
def test_every_file_is_there(path: Path) -> None:
    named = {
        code
        for code in find_code(path)
        if FILE.fullmatch(code) or FOLDER.fullmatch(code)
    }
    folders = [*SHORT_FOR, path.parent]
    missing = [
        name for name in named if not any((each / name).exists() for each in folders)
    ]
    assert sorted({*missing} - OF_READERS) == []


@of_each
def test_every_event_is_one(path: Path) -> None:
    assert {*EVENT.findall(path.read_text())} - EVENTS.keys() == set()


@of_each
def test_every_option_is_one(path: Path) -> None:
    named = {name for code in find_code(path) for name in OPTION.findall(code)}
    assert named - list_options() - OTHERS_OPTIONS.keys() == set()


def list_options() -> set[str]:
    context = click.Context(verbs)
    commands = [command, *(verbs.get_command(context, name) for name in list_verbs())]
    return {
        option
        for each in commands
        if each is not None
        for parameter in each.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


@of_each
def test_every_variable_is_one(path: Path) -> None:
    named = {name for code in find_code(path) for name in VARIABLE.findall(code)}
    options = {f"BLAZEIO_{option.key.upper()}" for option in OPTIONS}
    control = {"BLAZEIO_CONFIG", "BLAZEIO_INSTANCE"}
    assert named - options - control - OTHERS_VARIABLES == set()


def test_the_messages_by_which_trouble_is_found_are_written() -> None:
    document = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    seen = re.findall(r"^\| ([^|]*) \|", document, re.MULTILINE)
    quoted = {code for cell in seen for code in re.findall(r"`([^`]+)`", cell)}
    messages = {each for each in quoted if " " in each and each[:2] != "--"}
    commands = {each for each in messages if "=" in each or each.split()[0] in VERBS}
    assert len(messages - commands) >= 5
    written = "\n".join(iterate_texts())
    for message in messages - commands - MESSAGES_IN_PARTS.keys():
        assert all(part.strip() in written for part in message.split("...")), message


def iterate_texts() -> Iterator[str]:
    """Iterate over the texts in both packages, with a line end for each value."""
    for module in iterate_modules():
        for node in ast.walk(module.parse()):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                yield "".join(p if isinstance(p, str) else "\n" for p in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_bounds_that_are_constants_are_in_their_files() -> None:
    text = (REPOSITORY / "docs" / "reference" / "limits.md").read_text()
    named = [
        (name, file)
        for names, file in CONSTANTS.findall(text)
        for name in re.findall(r"[A-Z_]+", names)
    ]
    assert len(named) > 20
    assert [each for each in named if each[0] not in find_constants(each[1])] == []


def find_constants(file: str) -> set[str]:
    """Return the names that a module assigns at its top."""
    path = next(each / file for each in SHORT_FOR if (each / file).exists())
    return {
        target.id
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


@pytest.mark.parametrize(
    ("document", "of"),
    [
        ("reference/client.md", Timeouts),
        ("how-to/tls.md", TlsSettings),
        ("how-to/pages.md", CookieSessions),
    ],
)
def test_the_defaults_are_those_of_the_code(document: str, of: Any) -> None:
    """Those that are numbers, words or none; the others are explained."""
    rows = re.findall(
        r"^\| `(\w+)` \| `?\"?([^|`\"]+?)\"?`?(?: \([^|]*\))? \|",
        (REPOSITORY / "docs" / document).read_text(),
        re.MULTILINE,
    )
    defaults = read_defaults(of)
    told = {name: value.replace(",", "") for name, value in rows if name in defaults}
    assert len(told) >= 4
    assert {
        name: value
        for name, value in told.items()
        if value not in (defaults[name], "none" if defaults[name] == "None" else "")
        and value not in IN_WORDS
    } == {}


def read_defaults(of: Any) -> dict[str, str]:
    return {
        name: f"{parameter.default}".removesuffix(".0")
        for name, parameter in inspect.signature(of).parameters.items()
        if isinstance(parameter.default, str | float | int) or parameter.default is None
    }
