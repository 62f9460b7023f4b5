"""HTTP/2 under the supervisor: no call is lost by a reload; it can be turned off."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.service import APP, change, start_service
from tests.support.clock import block_until
from tests.support.http2 import OPENING, headers
from tests.support.live import LiveServers, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow

GRPC = change(
    APP,
    "r.reply(await r.read())",
    """await r.prepare({"Content-Type": "application/grpc"})
    await r.write(await r.read())
    await r.eof(trailers={"grpc-status": "0"})""",
)
CALLS = """
import sys, threading
import grpc

channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
call = channel.unary_unary("/echo")
is_over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
count = 0
while not is_over.is_set():
    assert call(b"x" * 50, timeout=20) == b"x" * 50
    count += 1
print(count)
"""


@pytest.mark.long
@pytest.mark.timeout(120)
def test_no_call_of_a_channel_is_lost_by_reloads(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=GRPC)
    calls = subprocess.Popen(
        [sys.executable, "-c", CALLS, str(service.server.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for generation in range(2, 7):
            service.reload(generation)
        told, _ = calls.communicate("", timeout=30)
    finally:
        calls.kill()
    assert calls.returncode == 0, told
    assert int(told) > 100


@vary(("options", "is_spoken"), [([], True), (["--no-http2"], False)])
def test_it_is_spoken_unless_the_command_line_says_otherwise(
    live_server: LiveServers, tmp_path: Path, options: list[str], is_spoken: bool
) -> None:
    place = "--control", "c.sock"
    service = start_service(live_server, tmp_path, *place, *options, workers=1)
    with service.server.connect() as peer:
        peer.send(OPENING + headers(1))
        if is_spoken:
            peer.read_until(b"\x04\0\0\0\0\0")  # SETTINGS, of no stream
        else:
            assert peer.read_response().status == 505
    service.get()

    def read_metrics() -> str:
        return run_to_exit(
            ["blazeio-supervisor", "metrics", *place], cwd=tmp_path
        ).stdout

    counted = f"blazeio_http2_requests_total {float(is_spoken)}\n"
    block_until(lambda: counted in read_metrics())
