import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from blazeio_supervisor.cli import unit as module
from blazeio_supervisor.cli.unit import unit
from blazeio_supervisor.errors import UsageError
from tests.supervisor.worker.lone_generation import HELLO

WORDS = ("hello:web", "--workers", "3", "--bind", "127.0.0.1:8000", "--name", "shop")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Only what a unit would see is refused below /tmp, and this is there.
    monkeypatch.setattr("blazeio_supervisor.cli.unit._TEMPORARY", ())
    monkeypatch.setattr(module, "UNITS", tmp_path / "units")
    (tmp_path / "units").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


def run(*words: str, text: str = "") -> Result:
    return CliRunner().invoke(unit, [*words], input=text)


def list_units(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "units").iterdir())


def test_the_settings_are_printed_in_the_place_of_a_unit(folder: Path) -> None:
    output = run(*WORDS, "--print-config").output
    assert output.startswith("# Process\n")
    assert "ExecStart" not in output


def test_one_unit_is_printed_and_nothing_is_written(folder: Path) -> None:
    output = run(*WORDS).output
    socket = run(*WORDS, "--socket").output
    assert output.startswith(f"# {folder}/units/shop.service\n")
    assert socket.startswith(f"# {folder}/units/shop.socket\n")
    for text, section in ((output, "[Service]"), (socket, "[Socket]")):
        lines = text.splitlines()
        assert lines.count("[Unit]") == lines.count(section) == 1
        assert lines.count("[Install]") == 1
    assert "[Socket]" not in output
    assert f" {' '.join(WORDS)}\n" in output
    assert f"WorkingDirectory={folder}\n" in output
    assert list_units(folder) == []


def test_the_comments_name_files_that_are_there(folder: Path) -> None:
    for words in (WORDS, (*WORDS, "--socket")):
        comments = re.findall("^#.*", run(*words).output, re.MULTILINE)[2:]
        named = re.findall(r"\S+\.(?:md|conf)\b", "\n".join(comments))
        assert all(Path(each).exists() for each in named), named
        assert all(os.path.isabs(each) for each in named), named
    assert "restart-steps.conf" in run(*WORDS).output


def test_who_wants_both_installs_them(folder: Path) -> None:
    done = run(*WORDS, "--install", "--socket")
    assert isinstance(done.exception, UsageError)
    assert list_units(folder) == []


def test_they_are_installed_when_that_is_meant(folder: Path) -> None:
    done = run(*WORDS, "--install", text="y\n")
    assert list_units(folder) == ["shop.service", "shop.socket"]
    assert "systemctl enable --now shop" in done.output
    assert "--install" not in (folder / "units/shop.service").read_text()
    again = run(*WORDS, "--install", "--yes")
    assert again.output.count("(is replaced)") == 2


def test_who_says_no_gets_nothing(folder: Path) -> None:
    done = run(*WORDS, "--install", text="n\n")
    assert isinstance(done.exception, UsageError)
    assert list_units(folder) == []


@pytest.mark.usefixtures("folder")
def test_settings_are_checked_first() -> None:
    done = run("hello:web", "--workers", "0")
    assert isinstance(done.exception, UsageError)
    assert "--workers 0" in str(done.exception)


def test_the_virtual_environment_and_the_variables_go_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLAZEIO_LOOP", "asyncio")
    monkeypatch.setenv("SECRET_OF_ANOTHER", "x")
    output = run(*WORDS).output
    assert "Environment=BLAZEIO_LOOP=asyncio\n" in output
    assert "Environment=VIRTUAL_ENV=" in output
    assert "SECRET_OF_ANOTHER" not in output
