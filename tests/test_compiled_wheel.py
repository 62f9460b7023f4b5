"""The wheel whose ``wire`` is compiled: built, installed elsewhere, and tested there.

What is run here against compiled code is what is run against the sources by the rest of
the tests, from a folder that has the tests alone.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.architecture.test_compiled_modules import iterate_compiled
from tests.support.elsewhere import Elsewhere, run
from tests.support.live import LiveServers
from tests.support.response import parse_response
from tests.support.tree import REPOSITORY

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

HEADERS = Path(sysconfig.get_path("include"), "Python.h")
COPIED = ["tests", "docs", "examples", "pyproject.toml"]
SERVER_TESTS = ["protocol", "server", "http2", "answers", "websocket"]
DOCTOR = """
from blazeio_supervisor.cli.doctor_machine import describe_parser
print(describe_parser().seen)
"""
TRACEBACK = """
import traceback
from blazeio.limits import Limits
from blazeio.wire.request import parse_head
try:
    parse_head(b"GET / HTTP/1.1\\r\\nHost : a\\r\\n\\r\\n", Limits())
except Exception:
    traceback.print_exc()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Built by the first process of xdist that needs it."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is missing")
    if not HEADERS.exists():
        pytest.skip(f"{HEADERS} is missing: python3-dev")
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "compiled-wheel"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return next(folder.glob("*.whl"), None) or build(folder)


def build(folder: Path, **variables: str) -> Path:
    words = ["-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, *words, str(REPOSITORY)],
        env={**os.environ, "BLAZEIO_COMPILE": "1", **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def there(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    installed = Elsewhere(tmp_path_factory.mktemp("installed") / "venv")
    installed.pip("install", wheel)
    return installed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests, and nothing that could be imported as blazeio."""
    folder = tmp_path_factory.mktemp("tests")
    for name in COPIED:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    return folder


def test_it_has_sources_and_machine_code_for_this_platform(wheel: Path) -> None:
    major, minor = sys.version_info[:2]
    assert f"-cp{major}{minor}-cp{major}{minor}-linux_" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    compiled = {each.split(".")[0] for each in names if each.endswith(".so")}
    expected = {f"blazeio/wire/{each.path.stem}" for each in iterate_compiled()}
    assert compiled == {*expected, "blazeio/wire/compiled__mypyc"}
    assert {f"{each}.py" for each in expected} <= set(names)


def test_nothing_is_written_into_the_clone(wheel: Path) -> None:
    assert not list((REPOSITORY / "blazeio").rglob("*.so"))
    assert not list(REPOSITORY.glob("*.so"))


@pytest.mark.parametrize(
    ("variables", "seen"), [({}, "compiled"), ({"BLAZEIO_PURE": "1"}, "Python")]
)
def test_doctor_says_which_one_runs_and_the_environment_chooses(
    there: Elsewhere, tmp_path: Path, variables: dict[str, str], seen: str
) -> None:
    words = (there.python, "-c", DOCTOR)
    found = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, **variables}, stdout=subprocess.PIPE
    )
    assert found.stdout.decode().strip() == seen


def test_a_traceback_has_file_and_line(there: Elsewhere, tmp_path: Path) -> None:
    told = run(there.python, "-c", TRACEBACK, cwd=tmp_path)
    place = "blazeio/wire/grammar.py"
    found = re.search(rf'File "{place}", line (\d+), in parse_field_line\n', told)
    assert found is not None, told
    source = (REPOSITORY / place).read_text().splitlines()
    assert source[int(found[1]) - 1].strip() == "name = _read_name(raw_name, line)"


def test_a_build_that_asks_for_source_has_none(tmp_path: Path) -> None:
    built = build(tmp_path, BLAZEIO_PURE="1")
    assert built.name.endswith("-py3-none-any.whl")


def test_an_installed_wheel_serves(
    there: Elsewhere, tmp_path: Path, live_server: LiveServers
) -> None:
    (tmp_path / "app.py").write_text(
        "import blazeio as io, blazeio.wire\nweb = io.App()\n"
        "@web.route.get('/')\nasync def which(r):\n"
        "    await io.Deliver.text(r, f'compiled: {blazeio.wire.IS_COMPILED}')\n"
    )
    words = [there.bin / "blazeio-supervisor", "app:web", "--bind=127.0.0.1:0"]
    server = live_server.start([str(each) for each in words], cwd=tmp_path)
    answer = parse_response(server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert answer is not None
    assert answer.text == "compiled: True"


@pytest.mark.parametrize(
    "tests",
    [
        ["tests/wire", "tests/conformance"],
        ["tests/property", "tests/property/compiled_alike.py"],
        [f"tests/{each}" for each in SERVER_TESTS],
    ],
    ids=["tables", "any octets", "servers"],
)
def test_what_holds_of_the_sources_holds(
    there: Elsewhere, folder: Path, tests: list[str]
) -> None:
    told = run(there.python, "-m", "pytest", "-q", *tests, cwd=folder, timeout_s=800)
    assert " passed" in told


@pytest.mark.parametrize("name", ["http2", "servers", "clients"])
def test_random_octets_are_no_harm(there: Elsewhere, folder: Path, name: str) -> None:
    run(there.python, "-m", f"tests.fuzz.{name}", "--seconds", "5", cwd=folder)
