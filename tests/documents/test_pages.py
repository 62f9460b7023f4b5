"""Every command and code block of the documents is run, or has a reason not to be."""

import json
import logging
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.documents.blocks import (
    PAGES,
    Block,
    iterate_blocks,
    iterate_commands,
    name_page,
)
from tests.documents.not_run import NOT_RUN
from tests.documents.page_run import PageRun, matches
from tests.documents.stand_ins import (
    APP,
    MAIN,
    make_files,
    make_server,
    make_stand_ins,
    run_block,
)
from tests.support.tree import REPOSITORY

LANGUAGES = {"python", "console", "toml", "yaml", "json", "ini", "text", "nginx"} | {
    "dockerfile",
    "html",
    "caddyfile",
    "haproxy",
    "javascript",
    "shell",
}
WITH_COMMANDS = [
    path
    for path in PAGES
    if any(each.language == "console" for each in iterate_blocks(path))
]

of_each = pytest.mark.parametrize("path", PAGES, ids=name_page)


def find_skipped(path: Path) -> tuple[str, ...]:
    return tuple(each.start for each in NOT_RUN if each.page == name_page(path))


@of_each
def test_each_block_says_what_it_is(path: Path) -> None:
    unknown = [
        (each.line, each.language)
        for each in iterate_blocks(path)
        if each.language not in LANGUAGES
    ]
    assert unknown == []


@of_each
def test_a_block_of_commands_without_a_prompt_has_a_reason(path: Path) -> None:
    """Of ``console`` each command is run; a ``shell`` block is a script that is not."""
    skipped = find_skipped(path)
    for block in iterate_blocks(path):
        assert block.language != "shell" or block.text.startswith(skipped), block


@of_each
def test_what_holds_data_can_be_read(path: Path) -> None:
    readers: dict[str, Callable[[str], object]] = {
        "toml": tomllib.loads,
        "yaml": yaml.safe_load,
        "json": json.loads,
    }
    for block in iterate_blocks(path):
        if block.language in readers:
            assert readers[block.language](block.text)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with make_server() as server:
        yield server.url


@pytest.fixture
def same_handlers() -> Iterator[None]:
    """Undo what a page does to its logger, which may be that of another test."""

    def list_loggers() -> list[logging.Logger]:
        named = logging.root.manager.loggerDict.values()
        return [each for each in named if isinstance(each, logging.Logger)]

    before = {each: list(each.handlers) for each in list_loggers()}
    yield
    for logger in list_loggers():
        for handler in logger.handlers[:]:
            if handler not in before.get(logger, []):
                logger.removeHandler(handler)


@of_each
@pytest.mark.usefixtures("same_handlers")
def test_python_runs(
    path: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks without a title run one after another, as one module would."""
    blocks = [each for each in iterate_blocks(path) if each.language == "python"]
    if not blocks:
        return
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", "a secret of sixteen characters")
    namespace = make_stand_ins(name_page(path), url)
    skipped = find_skipped(path)
    for block in blocks:
        if block.title:
            compile(block.text, f"{name_page(path)}:{block.line}", "exec")
        elif not block.text.startswith(skipped):
            run_block(block, name_page(path), namespace, url)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", WITH_COMMANDS, ids=name_page)
def test_commands_do_what_is_shown(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "main.py").write_text(MAIN)
    run = PageRun(folder)
    try:
        for block in iterate_blocks(path):
            if block.title is not None:
                run.write(block)
            elif block.language == "console":
                run.follow(block, find_skipped(path))
    finally:
        run.end()


def iterate_starts(path: Path) -> Iterator[str]:
    for block in iterate_blocks(path):
        yield block.text
        if block.language == "console":
            yield from (command.typed for command in iterate_commands(block))


def test_each_reason_is_for_something_that_is_there() -> None:
    for each in NOT_RUN:
        (path,) = [path for path in PAGES if name_page(path) == each.page]
        starts = list(iterate_starts(path))
        assert any(text.startswith(each.start) for text in starts), each
        assert len(each.reason) > 10


def test_commands_go_on_over_lines_and_here_documents() -> None:
    text = "$ a \\\n  b\nout\n$ cat > f <<'EOF'\n$ x\nEOF\n$ c\n"
    commands = list(iterate_commands(Block(1, "console", None, text)))
    assert [each.typed for each in commands] == [
        "a \\\n  b",
        "cat > f <<'EOF'\n$ x\nEOF",
        "c",
    ]
    assert commands[0].shown == "out"


def test_numbers_and_times_may_be_others() -> None:
    assert matches("pid 4711, up 2 h 14 m", "pid 12, up 1.7 s")
    assert matches("0 12.5 MiB", "0 - ")
    assert not matches("pid 4711", "pid of")


def test_dots_stand_for_any_text() -> None:
    assert matches("up ... now\nend", "up  x now \nend\n")
    assert not matches("up ... s", "down 12 s")
    assert not matches("up", "up and away")


@pytest.mark.parametrize(
    "folder", ["how-to", "reference", "explanation", "coming-from"]
)
def test_the_index_of_a_folder_has_each_page(folder: str) -> None:
    pages = REPOSITORY / "docs" / folder
    index = (pages / "index.md").read_text()
    missing = [
        path.name
        for path in pages.glob("*.md")
        if path.name != "index.md" and f"({path.name})" not in index
    ]
    assert missing == []


def test_django_makes_the_project_that_is_named(tmp_path: Path) -> None:
    """It refuses the name of any module that can be imported, such as ``site``."""
    page = (REPOSITORY / "docs/how-to/frameworks.md").read_text()
    found = re.search("`django-admin startproject ([^`]+)`", page)
    assert found is not None
    command = [sys.executable, "-m", "django", "startproject", found[1]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not done.stderr
    assert (tmp_path / found[1] / found[1] / "asgi.py").exists()
    assert f"blazeio-supervisor {found[1]}.asgi" in page
