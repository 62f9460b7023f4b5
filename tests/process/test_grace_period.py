"""Whatever a worker does, ``--graceful-timeout`` + 1 s is its end."""

import re
import signal
import time
from pathlib import Path

import pytest

from tests.process.service import APP, Service, serialize_get, start_service
from tests.support.clock import scaled
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow
GRACE_S = 0.5
MOST_S = GRACE_S + 5  # 1 s when nothing else runs; without a bound some 6 s more
NEVER_ENDS = {
    "spin": "while True: pass",
    "sleep": "time.sleep(60)",
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: pass",
    "masked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
    "    while True: pass",
    "stubborn": "await never_ends()",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "hook": "web.on_stop(spin_at_end)",
    "left_task": "asyncio.create_task(never_ends())",
    "at_exit": "import atexit; atexit.register(time.sleep, 60)",
}
OBSTINATE = (
    APP.replace("import asyncio, os, time", "import asyncio, os, signal, time")
    + """
async def never_ends():
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException:
            pass

async def spin_at_end():
    while True:
        pass
"""
    + "".join(
        f"""
@web.add_route
async def {name}(r, route="/{name}"):
    print("begun", flush=True)
    {code}
"""
        for name, code in NEVER_ENDS.items()
    )
)


def serve_obstinate(
    live_server: LiveServers, folder: Path, grace_s: float = GRACE_S
) -> Service:
    grace = "--graceful-timeout", str(grace_s)
    return start_service(live_server, folder, *grace, code=OBSTINATE, workers=1)


def occupy(service: Service, name: str) -> BlockingPeer:
    """A request that has begun."""
    peer = service.server.connect()
    peer.send(serialize_get(f"/{name}"))
    service.server.wait_for_log("(?m)^begun$")
    return peer


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "spin" else pytest.mark.long)
        for name in NEVER_ENDS
    ],
)
def test_a_stop_is_over_when_it_says(
    live_server: LiveServers, tmp_path: Path, name: str
) -> None:
    service = serve_obstinate(live_server, tmp_path)
    with occupy(service, name):
        began_at = time.monotonic()
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit(scaled(10)) == 0
        took_s = time.monotonic() - began_at
    assert took_s < scaled(MOST_S)
    assert not service.server.group()


@vary("name", ["spin", "sleep"])
def test_who_is_killed_is_named_with_what_is_cut_and_where_it_stood(
    live_server: LiveServers, tmp_path: Path, name: str
) -> None:
    service = serve_obstinate(live_server, tmp_path, 0.2)
    with occupy(service, name):
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit(scaled(10)) == 0
    (line,) = re.findall("(?m)^.*event=worker_killed.*$", service.server.log)
    assert "worker=1 slot=0" in line
    _, _, stacks = service.server.log.partition("event=worker_killed")
    assert re.search(rf'app\.py", line \d+ in {name}', stacks)
    if name == "spin":  # in the midst of C code Python cannot say which request it is
        assert f"GET /{name} (for " in line


@pytest.mark.long
def test_a_reload_kills_the_old_worker_as_soon(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = serve_obstinate(live_server, tmp_path)
    with occupy(service, "deaf"):
        (old,) = service.pids()
        service.server.signal(signal.SIGHUP)
        service.server.wait_for_log("event=worker_ready .*gen=2")
        began_at = time.monotonic()
        service.server.wait_for_log(rf"event=worker_killed .*pid={old}", timeout_s=10)
        assert time.monotonic() - began_at < scaled(MOST_S)


@pytest.mark.long
def test_int_ends_a_spinning_worker_in_little_more_than_a_second(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = serve_obstinate(live_server, tmp_path, 30)
    with occupy(service, "deaf"):
        began_at = time.monotonic()
        service.server.signal(signal.SIGINT)
        assert service.server.wait_exit(scaled(10)) == 0
        assert time.monotonic() - began_at < scaled(4)
