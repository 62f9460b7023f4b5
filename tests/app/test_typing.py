"""What a type checker finds in an app: a sync handler, what is returned, no await."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")  # of the group "check"
pytestmark = [pytest.mark.slow, pytest.mark.long]  # mypy takes seconds

APP = """
import msgspec
import blazeio as io
from blazeio.testing import TestServer

R = io.BlazeioServerProtocol
web = io.App("127.0.0.1", 8000)


class Query(msgspec.Struct):
    limit: int = 10


@web.route.get("/good")
async def good(r: R) -> None:
    query = await io.Request.get_params(r, type=Query)
    plain = await io.Request.get_params(r)
    reveal_type(query.limit)
    reveal_type(plain)
    await io.Deliver.json(r, {"limit": query.limit})


@web.add_route
async def takes_id(r: R, id: int = 0) -> None:
    raise io.Abort("no", 404, json={"code": 1})


@web.on_error(KeyError, 404)
async def lost(r: R, error: Exception) -> None:
    await io.Deliver.text(r, "lost", 404)


@web.on_start
async def start() -> None: ...


class State:
    count = 0


stateful = io.App(state=State())
reveal_type(stateful.state.count)
with TestServer(stateful) as server:
    pass

"""

MISTAKES = [
    (
        "def NAME(r: R) -> None: ...\nweb.add_route(NAME, '/a')",
        "cannot be",
    ),
    (
        "@web.route.get('/b')\ndef NAME(r: R) -> None: ...",
        "[type-var]",
    ),
    (
        "@web.route.post\nasync def NAME(r: R) -> dict[str, int]:\n    return {}",
        "[type-var]",
    ),
    (
        "@web.add_route\nasync def NAME(r: R) -> dict[str, int]:\n    return {}",
        "[type-var]",
    ),
    (
        "@web.add_route('/c', methods=['GET'])\n"
        "async def NAME(r: R) -> str:\n    return ''",
        "[type-var]",
    ),
    (
        "@web.route.get('/d')\n"
        "async def NAME(r: R) -> None:\n    io.Deliver.json(r, {})",
        "[unused-coroutine]",
    ),
    (
        "@web.route.get('/e')\nasync def NAME(r: R) -> None:\n    r.write(b'x')",
        "[unused-coroutine]",
    ),
    (
        "@web.route.get('/f')\n"
        "async def NAME(r: R) -> None:\n    io.Request.get_json(r)",
        "[unused-coroutine]",
    ),
    (
        "@web.route.get('/g')\n"
        "async def NAME(r: R) -> None:\n    return io.Deliver.json(r, {})",
        "[return-value]",
    ),
    (
        "@web.middleware\nasync def NAME(r: R) -> None: ...",
        "[type-var]",
    ),
    (
        "from blazeio.app.dispatch import CallNext\n"
        "@web.middleware\n"
        "async def NAME(r: R, call_next: CallNext) -> None:\n    call_next(r)",
        "[unused-coroutine]",
    ),
    (
        "@web.on_error(404)\ndef NAME(r: R, error: Exception) -> None: ...",
        "[type-var]",
    ),
    (
        "@web.main_handler\ndef NAME(r: R) -> None: ...",
        "[type-var]",
    ),
    ("io.App(port='8000')", "[arg-type]"),
    ("io.App(content_byte=1)", "[call-arg]"),
    ("io.Abort(404)", "[arg-type]"),
    ("stateful.state.other", "[attr-defined]"),
    ("web.get('/x')", "[attr-defined]"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What mypy says of the app and all mistakes behind it, by line."""
    folder = tmp_path_factory.mktemp("typed")
    text, first = APP, []
    for index, (code, _) in enumerate(MISTAKES):
        first.append(text.count("\n") + 1)
        text += code.replace("NAME", f"handler_{index}") + "\n"
    (folder / "app.py").write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "app.py"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said: dict[int, str] = {}
    for line in run.stdout.splitlines():
        place, _, message = line.partition(": ")
        number = place.partition(":")[2]
        if number.isdigit():
            index = sum(1 for each in first if each <= int(number)) - 1
            said[index] = said.get(index, "") + message + "\n"
    assert run.returncode == 1, run.stdout + run.stderr
    return said


def test_a_right_app_has_no_errors(told: dict[int, str]) -> None:
    assert "error" not in told[-1]
    assert 'type is "int"' in told[-1].replace("builtins.", "")
    assert "Params" in told[-1]


@pytest.mark.parametrize("index", range(len(MISTAKES)))
def test_a_mistake_is_found(told: dict[int, str], index: int) -> None:
    code, expected = MISTAKES[index]
    assert expected in told.get(index, ""), code


def test_mistakes_name_themselves_at_run_time_too(tmp_path: Path) -> None:
    code = "import blazeio as io\nio.App().add_route(lambda r: None, '/x')"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "must be defined with `async def`" in run.stderr
