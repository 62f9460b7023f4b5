"""``examples/statsd_exporter.py``: what a statsd would receive of a real service."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.service import start_service
from tests.support.clock import scaled
from tests.support.live import LiveServers
from tests.support.tree import REPOSITORY

LINE = re.compile(r"[\w:.]+:-?[\d.e+-]+\|[gc](?:\|#[\w:,.+ -]+)?")


@pytest.mark.long
@pytest.mark.slow
def test_gauges_and_differences_of_counters_are_sent(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--control", f"{tmp_path}/c.sock")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(scaled(20))
        program = str(REPOSITORY / "examples" / "statsd_exporter.py")
        words = ["127.0.0.1", str(statsd.getsockname()[1]), "--every", "0.2"]
        exporter = subprocess.Popen(
            [sys.executable, program, *words],
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "RUNTIME_DIRECTORY": str(tmp_path),
            },
        )
        try:
            (tmp_path / "control.sock").symlink_to(tmp_path / "c.sock")
            assert any(line.startswith("blazeio_ready:1|g") for line in receive(statsd))
            service.get("/")
            for line in receive(statsd):
                assert LINE.fullmatch(line), line
                if line == "blazeio_requests_total:1|c|#status:2xx":
                    break
        finally:
            exporter.kill()
            exporter.wait()


def receive(statsd: socket.socket):  # type: ignore[no-untyped-def]
    while True:
        yield statsd.recv(4096).decode()
