import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from blazeio_supervisor.version import UNKNOWN, explain_another, find_version


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    find_version.cache_clear()
    yield
    find_version.cache_clear()


def test_it_is_the_installed_one() -> None:
    assert find_version() == metadata.version("blazeio-supervisor")


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
def test_the_first_on_the_path_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / f"blazeio_supervisor-7.8.9rc1.{kind}").mkdir()
    monkeypatch.setattr(sys, "path", ["/no/such.zip", str(tmp_path), *sys.path])
    assert find_version() == "7.8.9rc1"


def test_what_replaces_it_later_is_not_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_version()
    (tmp_path / "blazeio_supervisor-7.8.9.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_version() == before


def test_without_an_installation_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blazeio-2.7.1.dist-info").mkdir()  # the stranger of that name
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_version() == UNKNOWN


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("blazeio-4.3.4.dist-info", "4.3.4"),
        ("Blazeio-2.1.4.6-py3.11.egg-info", "2.1.4.6"),
    ],
)
def test_another_project_of_that_name_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", ["/no/such.zip", str(tmp_path), *sys.path])
    line = explain_another() or ""
    assert f"({version}) is installed in {tmp_path}: " in line
    assert "pip uninstall blazeio && pip install --force-reinstall PATH" in line


def test_this_project_is_not_another_one() -> None:
    assert explain_another() is None
