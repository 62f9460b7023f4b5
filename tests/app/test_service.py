import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.runner import AppRunner
from blazeio.errors import ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until, within
from tests.support.live import LiveServers, run_to_exit
from tests.support.peer import RawPeer
from tests.support.served import serialize_request
from tests.support.tls_peer import NAME, Certificates

SCRIPT = """
import asyncio
import sys
import blazeio as io

io.use_loop("{loop}")
web = io.App("127.0.0.1", 0)

@web.add_route
async def _hello(r):
    await io.Deliver.text(r, "hi")

@web.add_route
async def _slow(r):
    print("slow begun", flush=True)
    await asyncio.sleep(float(r.query))
    await io.Deliver.text(r, "slow")

@web.on_drain
def say_drain():
    print("drain hook", flush=True)

@web.on_stop
async def say():
    print("stop hook", flush=True)

task = io.loop.create_task(asyncio.Event().wait())  # left running
web.runner()
assert task.cancelled()
print("after runner, loop closed:", io.loop.is_closed(), flush=True)
"""


@pytest.fixture(
    params=["uvloop", pytest.param("asyncio", marks=pytest.mark.long)],
)
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(loop=request.param))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_it_after_what_is_in_flight(
    live_server: LiveServers, script: Path, number: signal.Signals
) -> None:
    server = live_server.start(["python", script])
    with server.connect() as peer:
        peer.send(serialize_request("GET", "/slow?0.2"))
        server.wait_for_log("slow begun")
        server.signal(number)
        answer = peer.read_response()
    assert (answer.text, answer.field("connection")) == ("slow", "close")
    assert server.wait_exit() == 0
    assert "drain hook\nstop hook\nafter runner, loop closed: False" in server.log
    assert "Traceback" not in server.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_the_second_signal_ends_it_at_once(
    live_server: LiveServers, script: Path, number: signal.Signals, status: int
) -> None:
    server = live_server.start(["python", script])
    with server.connect() as peer:
        peer.send(serialize_request("GET", "/slow?60"))
        server.wait_for_log("slow begun")
        server.signal(number)
        server.wait_for_log("stopping once all is answered")
        server.signal(number)
        assert server.wait_exit() == status
    assert "stop hook" in server.log
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_it_says_where_it_serves_and_with_which_loop(
    live_server: LiveServers, script: Path
) -> None:
    server = live_server.start(["python", script])
    banner = rf"^blazeio: serving on http://127.0.0.1:{server.port} \(pid {server.pid},"
    server.wait_for_log(banner)
    loop = "uvloop" if "uvloop" in script.read_text() else "asyncio"
    assert f", {loop})" in server.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "note"),
    [
        ("0.0.0.0", "0.0.0.0 is IPv4 alone"),
        ("::", "[::] is IPv6 alone"),
        ("127.0.0.1", ""),
    ],
)
def test_it_says_which_family_a_wildcard_leaves_out(
    live_server: LiveServers, tmp_path: Path, host: str, note: str
) -> None:
    script = tmp_path / "app.py"
    script.write_text(f"import blazeio as io\nio.App({host!r}, 0).runner()\n")
    server = live_server.start(["python", script])
    (banner,) = server.wait_for_log(r"serving on http://.*\)(.*)$")
    assert banner[1] == (f"; {note}" if note else "")


@pytest.mark.slow
def test_an_address_in_use_is_one_line_and_status_1(
    live_server: LiveServers, tmp_path: Path, script: Path
) -> None:
    server = live_server.start(["python", script])
    second = tmp_path / "second.py"
    second.write_text(
        f"import blazeio as io\nio.App('127.0.0.1', {server.port}).runner()\n"
    )
    done = run_to_exit(["python", second])
    assert done.returncode == 1
    assert done.stderr == (
        f"blazeio: cannot bind 127.0.0.1:{server.port}: Address already in use\n"
    )


@pytest.mark.slow
def test_a_failing_start_hook_shows_its_own_traceback(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import blazeio as io\n"
        "web = io.App('127.0.0.1', 0)\n"
        "@web.on_start\n"
        "def connect(): raise ValueError('no database')\n"
        "web.runner()\n"
    )
    done = run_to_exit(["python", path])
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: no database\n")


# In one process


async def test_what_takes_longer_than_the_grace_period_is_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun: list[Any] = []
    web = App()

    @web.add_route
    async def _slow(r: BlazeioServerProtocol) -> None:
        begun.append(r)
        await asyncio.Event().wait()

    service = AppRunner("127.0.0.1", 0, grace_s=0.05)
    task = asyncio.ensure_future(service.serve(web.make_server, web.drain_hooks))
    host, _, port = service.address.partition(":")
    async with await RawPeer.connect(host, int(port)) as peer:
        await peer.send(serialize_request("GET", "/slow"))
        await wait_until(lambda: begun)
        service.ask_to_stop()
        await within(task)
    service.close()
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.getMessage() == "1 requests were cut: too late to answer"


async def test_a_connection_that_waits_to_be_accepted_is_still_answered() -> None:
    web = App()

    @web.add_route
    async def _x(r: BlazeioServerProtocol) -> None:
        await Deliver.text(r, "hi")

    service = AppRunner("127.0.0.1", 0)
    host, _, port = service.address.partition(":")
    async with await RawPeer.connect(host, int(port)) as peer:
        await peer.send(serialize_request("GET", "/x"))
        service.ask_to_stop()
        task = asyncio.ensure_future(service.serve(web.make_server, web.drain_hooks))
        answer = await peer.read_response()
        assert (answer.text, answer.field("connection")) == ("hi", "close")
    await within(task)
    service.close()
    await within(service.wait_closed())


async def test_an_ipv6_address_is_written_in_brackets() -> None:
    service = AppRunner("::1", 0)
    assert service.address.startswith("[::1]:")
    service.close()


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot bind"):
        AppRunner("256.256.256.256", 0)


@pytest.mark.slow
async def test_a_runner_within_a_loop_names_what_to_await() -> None:
    with pytest.raises(ConfigurationError, match="one runs here: await run"):
        App().runner()


def test_a_runner_outside_the_main_thread_leaves_signals_alone(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import threading\n"
        "import blazeio as io\n"
        "web = io.App('127.0.0.1', 0)\n"
        "web.on_start(lambda: io.loop.call_soon(web._ask_to_stop))\n"
        "thread = threading.Thread(target=web.runner)\n"
        "thread.start()\n"
        "thread.join()\n"
        "print('ended')\n"
    )
    done = run_to_exit(["python", path])
    assert (done.returncode, done.stdout) == (0, "ended\n")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_runner_that_the_app_itself_cancels_says_so(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import asyncio\n"
        "import blazeio as io\n"
        "web = io.App('127.0.0.1', 0)\n"
        "web.on_start(lambda: asyncio.current_task().cancel())\n"
        "try:\n"
        "    web.runner()\n"
        "except asyncio.CancelledError:\n"
        "    print('cancelled')\n"
    )
    done = run_to_exit(["python", path])
    assert (done.returncode, done.stdout) == (0, "cancelled\n")


@pytest.mark.slow
def test_https_is_served_and_said(live_server: LiveServers, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(HTTPS_SCRIPT.format(certfile=certificates.issue(NAME)))
    server = live_server.start(["python", script])
    assert f"serving on https://127.0.0.1:{server.port} (pid " in server.log
    url = f"https://{NAME}:{server.port}/hello"
    answer = httpx.get(url, verify=certificates.client_context(), trust_env=False)
    assert answer.text == "localhost TLSv1.3"


@pytest.mark.slow
def test_a_mistake_in_tls_is_one_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(HTTPS_SCRIPT.format(certfile="/none.pem"))
    done = run_to_exit(["python", script])
    assert done.returncode == 1
    assert done.stderr == "blazeio: TLS certfile /none.pem: no such file\n"


HTTPS_SCRIPT = """
import blazeio as io

web = io.App("127.0.0.1", 0, tls=io.TlsSettings(certfile="{certfile}"))

@web.add_route
async def _hello(r):
    await io.Deliver.text(r, f"{{r.tls.server_name}} {{r.tls.version}}")

web.runner()
"""
