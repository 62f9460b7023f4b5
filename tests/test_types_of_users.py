"""Type checkers find the mistakes of a user's app: ``mypy --strict`` and pyright."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """\
import blazeio as io

web = io.App("127.0.0.1", 8000)


@web.route.get("/")
"""
GOOD = """\
async def hello(r: io.BlazeioServerProtocol) -> None:
    await io.Deliver.json(r, {"hello": "world"})
"""
MISTAKES = {
    "sync_handler": (
        "def hello(r: io.BlazeioServerProtocol) -> None:\n    print(r.path)\n",
        "HandlerT",
        "Awaitable[None]",
    ),
    "returned_value": (
        "async def hello(r: io.BlazeioServerProtocol) -> dict[str, str]:\n"
        '    return {"hello": r.path}\n',
        "HandlerT",
        "Awaitable[None]",
    ),
    "forgotten_await": (
        "async def hello(r: io.BlazeioServerProtocol) -> None:\n"
        '    io.Deliver.json(r, {"hello": "world"})\n',
        "Are you missing an await?",
        "reportUnusedCoroutine",
    ),
    "unknown_name": (
        "async def hello(r: io.BlazeioServerProtocol) -> None:\n"
        '    await io.Deliver.jason(r, {"hello": "world"})\n',
        '"jason"',
        "reportAttributeAccessIssue",
    ),
}
"""By name: the handler, and what mypy and what pyright say of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("types")
    (folder / "good.py").write_text(HEAD + GOOD)
    for name, (code, *_) in MISTAKES.items():
        (folder / f"{name}.py").write_text(HEAD + code)
    return folder


def run(folder: Path, *words: str) -> str:
    """Run a type checker over the folder; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    return done.stdout + done.stderr


def check_each(report: str, column: int) -> None:
    """Check that each mistake was found in its file, and nothing in the good one."""
    assert "good.py" not in report
    for name, expected in MISTAKES.items():
        assert f"{name}.py" in report
        assert expected[column] in report


@pytest.mark.long
@pytest.mark.timeout(180)
def test_mypy_finds_each_mistake(folder: Path) -> None:
    words = ("mypy", "--strict", "--cache-dir", str(folder / "cache"), ".")
    report = run(folder, *words)
    check_each(report, 1)
    assert f"Found {len(MISTAKES)} errors in {len(MISTAKES)} files" in report


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None, reason="pyright is not installed"
)
def test_pyright_finds_each_mistake(folder: Path) -> None:
    report = run(folder, "pyright", "--pythonpath", sys.executable, ".")
    check_each(report, 2)
    assert f"{len(MISTAKES)} errors" in report
