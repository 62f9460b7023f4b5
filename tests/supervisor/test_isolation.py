import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

from blazeio_supervisor.isolation import (
    find_open_code,
    isolate,
    keep_trusted,
    list_own_options,
    list_too_late,
    pack_variables,
    unpack_variables,
)
from tests.support.users import acting_as, give, need_root


@pytest.fixture
def theirs(open_folder: Path) -> Path:
    """A folder of nobody's."""
    need_root()
    (open_folder / "theirs").mkdir()
    return give(open_folder / "theirs")


def test_what_leads_root_to_code_of_others_is_hidden(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = f"{theirs}:/usr/lib:relative::{theirs.parent}"
    monkeypatch.setenv("PYTHONPATH", given)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", f"{theirs}/cache")
    monkeypatch.setenv("WORD", "kept")
    isolation = isolate()
    assert isolation.environment["PYTHONPATH"] == f"/usr/lib:{theirs.parent}"
    assert "PYTHONPYCACHEPREFIX" not in isolation.environment
    assert isolation.environment["WORD"] == "kept"
    assert isolation.hidden == {
        "PYTHONPATH": given,
        "PYTHONPYCACHEPREFIX": f"{theirs}/cache",
    }
    assert isolation.options[0] == "-P"
    with acting_as():
        assert isolate().environment["PYTHONPATH"] == given


@pytest.mark.parametrize("home", ["", "/theirs"])
def test_the_home_of_another_has_no_packages_for_root(
    theirs: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    """Of ``sudo`` that keeps ``HOME``; also while there are no packages yet."""
    path = f"{theirs.parent}{home}/.local/lib"
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(site, "getusersitepackages", lambda: path)
    assert ("-s" in isolate().options) == bool(home)


def test_root_imports_from_its_own_folders(theirs: Path) -> None:
    entries = ["", ".", str(theirs), "/usr/lib", f"{theirs}/needed", str(theirs.parent)]
    assert keep_trusted(entries, needed=[f"{theirs}/needed"]) == [
        "/usr/lib",
        f"{theirs}/needed",
        str(theirs.parent),
    ]


def test_an_installation_that_others_may_write_is_named(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert find_open_code() == []
    monkeypatch.setattr(sys, "executable", f"{theirs}/bin/python")
    monkeypatch.setenv("PYTHONPATH", str(theirs))
    executable, variable = find_open_code()
    assert executable.startswith(f"{theirs} belongs to nobody (uid 65534)")
    assert variable == "$PYTHONPATH leads to files of others"
    with acting_as():
        assert find_open_code() == []


@pytest.mark.parametrize("option", ["-I", "-E", "-s", "-P", "-B", "-O", "-Wignore"])
def test_an_interpreter_is_started_as_this_one_was(option: str) -> None:
    code = "from blazeio_supervisor.isolation import *; import sys"
    command = [sys.executable, option, "-c", f"{code}; print(list_own_options())"]
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON")
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environ
    )
    assert f"'{option}'" in done.stdout, done.stderr
    assert "-I" not in list_own_options()


def test_variables_go_by_a_descriptor() -> None:
    variables = {"A": "x" * 300_000, "B": "\udcff"}
    assert unpack_variables(pack_variables(variables)) == variables


def test_what_only_a_start_reads_is_too_late() -> None:
    names = ["LD_PRELOAD", "PYTHONPATH", "PYTHONHASHSEED", "TZ", "LDAP_URL"]
    assert list_too_late(names) == ["LD_PRELOAD", "PYTHONHASHSEED"]
