"""The framework and its client work where Linux's own calls are missing."""

import signal
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.clock import block_until, scaled
from tests.support.live import BANNER, LiveServers, run_to_exit
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow
WITHOUT = ["python", "-m", "tests.support.without_linux"]
SIZE = 3_000_000
APP = """
import asyncio, pathlib
import blazeio as io

web = io.App("127.0.0.1", 0)
ended = []

@web.route.get("/")
async def hello(r):
    await io.Deliver.json(r, {"hello": "world"})

@web.route.get("/asked")
async def asked(r):
    url = f"http://{r.authority}/"
    async with io.Session() as session, session.get(url) as resp:
        await io.Deliver.json(r, await resp.json())

@web.route.post("/upload", content_bytes=100_000_000)
async def upload(r):
    size = 0
    async for chunk in r.pull():
        size += len(chunk)
        await asyncio.sleep(0)
    await io.Deliver.text(r, str(size))

@web.route.post("/stuck", content_bytes=100_000_000)
async def stuck(r):
    try:
        await asyncio.sleep(60)  # reading pauses, for nobody pulls
    finally:
        ended.append(1)

@web.route.get("/ended")
async def tell(r):
    await io.Deliver.text(r, str(len(ended)))

@web.route.get("/ws")
async def echo(r):
    async with io.WebSocket(r) as ws:
        async for message in ws:
            await ws.send(message)

web.add_static("/static", pathlib.Path(__file__).parent)

if __name__ == "__main__":
    web.runner()
"""
ASGI = """
async def app(scope, receive, send):
    assert scope["type"] == "http", scope
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"asgi"})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "main.py").write_text(ASGI)
    (tmp_path / "big.bin").write_bytes(bytes(SIZE))
    return tmp_path


def test_an_app_serves_all_that_it_serves_on_linux(
    live_server: LiveServers, folder: Path
) -> None:
    server = live_server.start([*WITHOUT, folder / "app.py"])
    base = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=base, timeout=scaled(20)) as client:
        assert client.get("/").json() == {"hello": "world"}
        assert client.get("/asked").json() == {"hello": "world"}
        assert client.post("/upload", content=bytes(SIZE)).text == str(SIZE)
        (folder / "out").symlink_to("/etc/hostname")
        assert client.get("/static/out").status_code == 404
        part = client.get("/static/big.bin", headers={"Range": "bytes=5-1000004"})
        assert (part.status_code, len(part.content)) == (206, 1_000_000)
        assert client.get("/static/big.bin").content == bytes(SIZE)
        with connect(f"ws://127.0.0.1:{server.port}/ws", proxy=None) as ws:
            ws.send("hello")
            assert ws.recv(timeout=scaled(20)) == "hello"
        with BlockingPeer("127.0.0.1", server.port) as peer:
            peer.send(b"POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n")
            peer.send(b"\r\n" + bytes(400_000))
            peer.reset()
        block_until(lambda: client.get("/ended").text == "1", 20, "the disconnect")
    assert "Traceback" not in server.log


def test_the_test_server_works(tmp_path: Path) -> None:
    (tmp_path / "tried.py").write_text(
        "import asyncio\n"
        "import blazeio as io\n"
        "from blazeio.testing import TestServer\n"
        "web = io.App()\n"
        "@web.route.get('/')\n"
        "async def index(r):\n"
        "    await io.Deliver.text(r, 'fine')\n"
        "async def main():\n"
        "    async with TestServer(web) as server, io.Session(server.url) as resp:\n"
        "        print(await resp.text())\n"
        "asyncio.run(main())\n"
    )
    done = run_to_exit([*WITHOUT, tmp_path / "tried.py"])
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


PROGRAM = [*WITHOUT, "blazeio_supervisor.__main__"]


def test_the_supervisor_says_what_it_needs(folder: Path) -> None:
    done = run_to_exit([*PROGRAM, "app:web", "--workers", "2"])
    assert done.returncode == 2
    assert done.stderr == (
        "blazeio-supervisor: supervising needs Linux; --single serves the app by one "
        "process, for development\n"
    )


@vary("start", [PROGRAM, ["blazeio-supervisor"]])
@pytest.mark.parametrize(
    ("app", "text"), [("app:web", '{"hello":"world"}'), ("main:app", "asgi")]
)
def test_single_serves_by_one_process(
    live_server: LiveServers, folder: Path, start: list[str], app: str, text: str
) -> None:
    options = ["--single", "--bind", "127.0.0.1:0", "--app-dir", str(folder)]
    server = live_server.start([*start, app, *options])
    assert httpx.get(f"http://127.0.0.1:{server.port}/").text == text
    assert not server.children()


@pytest.mark.long
def test_single_starts_anew_when_the_code_changes(
    live_server: LiveServers, folder: Path
) -> None:
    options = ["--single", "--bind", "127.0.0.1:0", "--app-dir", str(folder)]
    server = live_server.start(["blazeio-supervisor", "main:app", *options, "--reload"])
    assert httpx.get(f"http://127.0.0.1:{server.port}/").text == "asgi"
    (folder / "main.py").write_text(ASGI.replace('b"asgi"', 'b"changed"'))
    found = server.wait_for_log(
        r"serving on http://127\.0\.0\.1:(?P<port>\d+)", count=2
    )
    assert httpx.get(f"http://127.0.0.1:{found[1]['port']}/").text == "changed"


BLOCKED = """
import time
import blazeio as io

web = io.App()

@web.route.get("/")
async def block(r):
    time.sleep(3600)
"""
SLOW = """
import sys, time
print("importing", file=sys.stderr, flush=True)
time.sleep(3600)
"""


@vary(
    ("code", "name", "ready", "asks"),
    [
        (ASGI, "app", None, False),
        (BLOCKED, "web", None, True),
        (SLOW, "web", "importing", False),
    ],
    ids=["serving", "blocked", "importing"],
)
def test_what_serves_ends_with_what_watches(
    live_server: LiveServers,
    folder: Path,
    code: str,
    name: str,
    ready: str | None,
    asks: bool,
) -> None:
    """Else it would keep the port, and answer by the code of yesterday."""
    (folder / "served.py").write_text(code)
    options = ["--single", "--bind", "127.0.0.1:0", "--app-dir", str(folder)]
    command = ["blazeio-supervisor", f"served:{name}", *options, "--reload"]
    server = live_server.start(command, ready=ready or BANNER)
    with server.connect() if asks else nullcontext() as peer:
        if peer is not None:
            peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.signal(signal.SIGKILL)
        server.wait_exit()
        server.wait_group_gone()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing:web"], "nothing"),
        (["app:nothing"], "nothing"),
        (["app:web", "--bind", "unix:/tmp/x"], "--single listens at HOST:PORT"),
        (["app:web", "--no-such-option"], "No such option"),
    ],
)
def test_mistakes_are_one_line(folder: Path, words: list[str], said: str) -> None:
    done = run_to_exit(
        ["blazeio-supervisor", "--single", "--app-dir", str(folder), *words]
    )
    assert done.returncode in {2, 3, 4}
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
