import re
import signal
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.process.service import Service, change, start_service
from tests.support.live import LiveServers, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow

ASGI = """
import asyncio, os, sys

def say(word):  # in one write: print makes four, between those of other workers
    sys.stderr.write(f"{word} {os.getpid()}\\n")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        say("startup")
        scope["state"]["made_by"] = os.getpid()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert scope["state"]["made_by"] == os.getpid()
    if scope["path"] == "/slow":
        await asyncio.sleep(0.4)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
WSGI = """
import os, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.4)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
BOTH = pytest.mark.parametrize("code", [ASGI, WSGI], ids=["asgi", "wsgi"])
BIND = "--bind", "127.0.0.1:0"


def count(service: Service, word: str) -> list[str]:
    return sorted(re.findall(rf"^{word} (\d+)$", service.server.log, re.MULTILINE))


@BOTH
@vary("loop", ["uvloop", "asyncio"])
def test_an_app_of_another_interface_is_served_and_reloaded(
    live_server: LiveServers, tmp_path: Path, code: str, loop: str
) -> None:
    service = start_service(
        live_server, tmp_path, *BIND, "--loop", loop, app="app", code=code
    )
    service.wait_everybody_answers()
    old = service.pids()
    service.reload(2)
    service.wait_everybody_answers()
    new = service.pids()
    assert not set(old) & set(new)
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    if code is ASGI:
        everybody = sorted(map(str, (*old, *new)))
        assert count(service, "startup") == everybody
        assert count(service, "shutdown") == everybody


@vary("code", [ASGI, WSGI], ids=["asgi", "wsgi"])
def test_what_is_in_flight_is_answered_at_the_end(
    live_server: LiveServers, tmp_path: Path, code: str
) -> None:
    service = start_service(live_server, tmp_path, *BIND, app="app:app", code=code)
    with service.server.connect() as peer:
        peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        service.server.signal(signal.SIGTERM)
        assert peer.read_response().status == 200
    assert service.server.wait_exit() == 0


LINGERS = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("order: shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await asyncio.sleep(0.3)
        print("order: websocket", message["code"], flush=True)
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})
        await asyncio.sleep(0.2)
        print("order: request", flush=True)
"""


def test_shutdown_comes_after_the_last_request_and_the_last_websocket(
    live_server: LiveServers, tmp_path: Path
) -> None:
    """ASGI Lifespan section "Shutdown"; WebSocket section "Disconnect": 1012."""
    service = start_service(
        live_server, tmp_path, *BIND, app="app", code=LINGERS, workers=1
    )
    with connect(f"ws://127.0.0.1:{service.server.port}/"):
        assert service.get().body == b"done"
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit() == 0
    order = re.findall("order: (.*)", service.server.log)
    assert order == ["request", "websocket 1012", "shutdown"]


FAILS = change(
    ASGI,
    'await send({"type": "lifespan.startup.complete"})',
    'await send({"type": "lifespan.startup.failed", "message": "no database"})\n'
    '        raise OSError("no database")',
)
REFUSES = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
"""


@vary(
    ("code", "options", "status", "line"),
    [
        (FAILS, (), 3, "the app's startup has failed: no database"),
        (REFUSES, ("--lifespan", "on"), 3, "failed to start: AssertionError"),
        ("def app(scope): ...", (), 4, "asgiref.compatibility"),
        ("async def app(): ...", (), 4, "async factory"),
        (ASGI, ("--interface", "blazeio"), 4, "takes what an ASGI app does"),
        ("site = 1\ndef make(): ...", (), 4, "write `app:NAME`; it holds make"),
    ],
)
def test_an_app_that_cannot_be_served_says_why(
    tmp_path: Path, code: str, options: tuple[str, ...], status: int, line: str
) -> None:
    (tmp_path / "app.py").write_text(code)
    done = run_to_exit(["blazeio-supervisor", "app", *BIND, *options], cwd=tmp_path)
    assert done.returncode == status, done.stderr
    (failed,) = re.findall("^.*event=boot_failed .*$", done.stderr, re.MULTILINE)
    assert line in failed


@pytest.mark.long
def test_a_failed_startup_at_a_reload_leaves_the_old_generation(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, *BIND, app="app", code=ASGI)
    (tmp_path / "app.py").write_text(FAILS)
    service.server.signal(signal.SIGHUP)
    service.server.wait_for_log("event=reload_failed .*no database")
    service.server.wait_for_log('raise OSError."no database".')
    service.wait_everybody_answers()


@vary("error", ['OSError("too late")', "SystemExit(7)"])
def test_an_exception_at_the_shutdown_is_an_event_with_its_traceback(
    live_server: LiveServers, tmp_path: Path, error: str
) -> None:
    code = change(
        ASGI,
        'await send({"type": "lifespan.shutdown.complete"})',
        f"raise {error}",
    )
    service = start_service(live_server, tmp_path, *BIND, app="app", code=code)
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    assert "event=stop_hook_failed" in service.server.log
    assert f"raise {error}" in service.server.log
    assert "event=app_raised" not in service.server.log


RUNS = """
import blazeio_supervisor

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"run"})

if __name__ == "__main__":
    blazeio_supervisor.run("script:app", workers=1, bind="127.0.0.1:0", control=None)
"""


@pytest.mark.long
def test_a_script_runs_its_service_by_run(
    live_server: LiveServers, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "script.py").write_text(RUNS)
    server = live_server.start(["python", folder / "script.py"], cwd=tmp_path)
    server.wait_for_log("event=ready ")
    octets = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert octets.endswith(b"run")
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0


@vary(
    ("call", "status", "line"),
    [
        ('run("script:app", wrokers=2)', 2, "Did you mean '--workers'"),
        ("run(app)", 1, "write the import path, 'main:app'"),
        ('run("none:app")', 4, "no module named 'none'"),
    ],
)
def test_a_run_that_cannot_be_says_why(
    tmp_path: Path, call: str, status: int, line: str
) -> None:
    code = f"import blazeio_supervisor\napp = 1\nblazeio_supervisor.{call}\n"
    (tmp_path / "script.py").write_text(code)
    done = run_to_exit(["python", "script.py"], cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert line in done.stderr


@pytest.mark.long
def test_other_spellings_are_understood(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(WSGI)
    words = ["blazeio-supervisor", "app", "-w", "1", "-k", "sync", "--port", "0"]
    server = live_server.start(words, cwd=tmp_path)
    server.wait_for_log("event=ready ")
    octets = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert octets.startswith(b"HTTP/1.1 200 ")


FORKS = """
import os, sys

def app(environ, start_response):
    pid = os.fork()
    if not pid:
        if environ["PATH_INFO"] == "/exits":
            sys.exit(7)
        start_response("200 OK", [])
        return [b"the child"]
    _, status = os.waitpid(pid, 0)
    start_response("200 OK", [])
    return [str(os.waitstatus_to_exitcode(status)).encode()]
"""


@pytest.mark.long
def test_a_child_that_a_request_has_forked_ends(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = *BIND, "--threads", "1"
    service = start_service(live_server, tmp_path, *options, app="app", code=FORKS)
    for path, code in (("/exits", b"7"), ("/returns", b"1"), ("/exits", b"7")):
        assert service.get(path).body == code
