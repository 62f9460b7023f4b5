"""The wheel: built, installed elsewhere, beside a project that is called like it."""

import re
import shutil
import sys
import tomllib
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from tests.support.elsewhere import Elsewhere, run
from tests.support.live import LiveServers
from tests.support.response import parse_response
from tests.support.tree import REPOSITORY, iterate_texts

REMEDY = "pip uninstall blazeio && pip install --force-reinstall PATH"
BUILD = "import sys, hatchling.build as b; b.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-c", BUILD, folder)
    (built,) = folder.glob("*.whl")
    return built


def make_stranger(folder: Path) -> Path:
    """Make a wheel of another project: a package and metadata called blazeio."""
    path = folder / "blazeio-4.3.4-py3-none-any.whl"
    about = "blazeio-4.3.4.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("blazeio/__init__.py", "print('of another project')\n")
        archive.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: blazeio\nVersion: 4.3.4\n",
        )
        archive.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n",
        )
        archive.writestr(f"{about}/RECORD", "")
    return path


@pytest.mark.long
def test_an_installed_wheel_serves(
    wheel: Path, tmp_path: Path, live_server: LiveServers
) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    there = Elsewhere(tmp_path / "venv")
    there.pip("install", wheel)
    manual = there.bin.parent / "share/man/man1/blazeio-supervisor.1"
    assert manual.read_text().startswith('.\\" Made by')
    (tmp_path / "app.py").write_text(
        "import blazeio as io\nweb = io.App()\n"
        "@web.route.get('/')\nasync def where(r):\n"
        "    await io.Deliver.text(r, io.__file__)\n"
    )
    words = [there.bin / "blazeio-supervisor", "app:web", "--bind=127.0.0.1:0"]
    server = live_server.start([str(each) for each in words], cwd=tmp_path)
    answer = parse_response(server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert answer is not None
    assert answer.text.startswith(str(tmp_path / "venv"))


@pytest.mark.long
def test_beside_a_project_of_the_same_name_it_says_how_to_mend_it(
    wheel: Path, tmp_path: Path
) -> None:
    there = Elsewhere(tmp_path / "venv")
    program = there.bin / "blazeio-supervisor"
    there.pip("install", make_stranger(tmp_path))
    there.pip("install", wheel)  # over the files of the other one
    told = run(there.python, "-c", "import blazeio", code=1, cwd=tmp_path)
    assert REMEDY in told.splitlines()[-1]
    told = run(program, "--version", code=1, cwd=tmp_path)
    assert REMEDY in told
    assert told.count("\n") == 1

    there.pip("install", "--force-reinstall", make_stranger(tmp_path))  # over ours
    told = run(program, "--version", code=1, cwd=tmp_path)
    assert REMEDY in told
    assert "of another project" not in told

    there.pip("uninstall", "--yes", "blazeio")
    there.pip("install", "--force-reinstall", wheel)
    assert "version" in run(program, "--version", cwd=tmp_path)
    run(there.python, "-c", "import blazeio; blazeio.App", cwd=tmp_path)


def test_the_environment_chooses_the_source_of_what_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "blazeio"
    shutil.copytree(REPOSITORY / "blazeio", package)
    (package / f"wire/grammar{EXTENSION_SUFFIXES[0]}").touch()  # not a library
    words = [sys.executable, "-c", "import blazeio.wire as w; print(w.IS_COMPILED)"]
    assert "ImportError" in run(*words, cwd=tmp_path, code=1)
    monkeypatch.setenv("BLAZEIO_PURE", "1")
    assert run(*words, cwd=tmp_path) == "False\n"


def test_the_extra_all_has_every_other_one() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = dict(project["optional-dependencies"])
    everything = extras.pop("all")
    assert sorted(everything) == sorted(
        {each for some in extras.values() for each in some}
    )


def test_no_document_tells_to_install_the_project_of_that_name() -> None:
    """``pip install blazeio`` fetches it; ours is installed from a path."""
    told = [
        f"{place}: {line}"
        for place, text in iterate_texts()
        if place.name != "CHANGELOG.md" and place.parts[0] != "tests"
        for line in text.splitlines()
        if re.search(r"(?<!un)install\b.* '?\"?blazeio(?![\w/.@])", line)
        and "pip" in line
        and "another project" not in line  # tells not to
    ]
    assert told == []
