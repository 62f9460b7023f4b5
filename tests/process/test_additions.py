"""What is added to an app from outside: a folder without an app, files, hooks."""

from pathlib import Path

import pytest

from tests.support.live import LiveServers, run_to_exit
from tests.support.response import Response, parse_response
from tests.support.variations import vary

pytestmark = pytest.mark.slow

HOOKS = """
import os

def begin():
    with open("hooks", "a") as file:
        file.write(f"begin {os.getpid()}\\n")

async def end():
    with open("hooks", "a") as file:
        file.write(f"end {os.getpid()}\\n")
"""
APP = """
import blazeio as io
web = io.App()

@web.on_start
async def start():
    with open("hooks", "a") as file:
        file.write("start\\n")

@web.on_stop
async def stop():
    with open("hooks", "a") as file:
        file.write("stop\\n")

@web.route.get("/")
async def home(r):
    await io.Deliver.text(r, "of the app")
"""
ASGI = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
"""


def ask(server: object, path: str) -> Response:
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    answer = parse_response(server.exchange(request))  # type: ignore[attr-defined]
    assert answer is not None
    return answer


@pytest.mark.long
def test_a_folder_is_served_without_an_app(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text("a file")
    (tmp_path / "public" / ".secret").write_text("")
    words = ["blazeio-supervisor", "serve", "public", "--bind", "127.0.0.1:0"]
    server = live_server.start([*words, "--workers", "1"], cwd=tmp_path)
    assert ask(server, "/a.txt").text == "a file"
    listing = ask(server, "/").text
    assert "a.txt" in listing
    assert ".secret" not in listing
    assert ask(server, "/.secret").status == 404


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    done = run_to_exit(["blazeio-supervisor", "serve", "nowhere"], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"blazeio-supervisor: {tmp_path}/nowhere is not a folder\n"


@vary("code", [APP, ASGI], ids=["blazeio", "asgi"])
def test_files_are_served_beside_an_app(
    live_server: LiveServers, tmp_path: Path, code: str
) -> None:
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.css").write_text("p {}")
    words = ["blazeio-supervisor", "app", "--bind", "127.0.0.1:0", "--workers", "1"]
    server = live_server.start([*words, "--static", "/assets=public"], cwd=tmp_path)
    assert ask(server, "/assets/a.css").text == "p {}"
    assert ask(server, "/assets/b.css").status == 404
    assert ask(server, "/").text in ("of the app", "/")


def test_hooks_are_around_those_of_the_app(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "hooks.py").write_text(HOOKS)
    (tmp_path / "hooks").unlink(missing_ok=True)
    words = ["blazeio-supervisor", "app", "--bind", "127.0.0.1:0", "--workers", "1"]
    options = ["--hook-post-fork", "hooks:begin", "--hook-worker-exit", "hooks:end"]
    server = live_server.start([*words, *options], cwd=tmp_path)
    assert ask(server, "/").text == "of the app"
    server.end(20)
    server.wait_exit()
    lines = (tmp_path / "hooks").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["begin", "start", "stop", "end"]
    assert lines[0].split()[1] == lines[3].split()[1]


@vary(
    ("words", "code", "reason"),
    [
        (("--static", "assets=public"), 2, "expected /PREFIX=FOLDER"),
        (
            ("--static", "/assets=nowhere"),
            2,
            "/assets: {folder}/nowhere is not a folder",
        ),
        (("--hook-post-fork", "hooks"), 2, "expected MODULE:FUNCTION"),
        (("--hook-post-fork", "app:nothing"), 4, "--hook-post-fork app:nothing: "),
        (("--hook-worker-exit", "app:web"), 4, "app:web: it is not a function"),
    ],
    usual=3,
)
def test_a_mistake_is_told_on_one_line(
    tmp_path: Path, words: tuple[str, ...], code: int, reason: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    program = ["blazeio-supervisor", "app", "--bind", "127.0.0.1:0", "--workers", "1"]
    done = run_to_exit([*program, *words], cwd=tmp_path)
    assert (done.returncode, done.stderr.count(reason.format(folder=tmp_path)) > 0) == (
        code,
        True,
    ), done.stderr
