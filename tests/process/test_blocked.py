import contextlib
import time
from pathlib import Path

import pytest

from tests.process.service import APP, serialize_get, start_service
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow


def test_new_connections_do_not_wait_for_a_blocked_worker(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = APP.replace("time.sleep(1.0)", "open('on', 'w').close(); time.sleep(2.5)")
    service = start_service(live_server, tmp_path, code=code, workers=4)
    slowest = 0.0
    with service.server.connect() as busy:
        busy.send(serialize_get("/block"))
        block_until((tmp_path / "on").exists)
        blocked_at = time.monotonic()
        while time.monotonic() < blocked_at + 1.5:
            with contextlib.ExitStack() as stack:
                began_at = time.monotonic()
                peers = [
                    stack.enter_context(service.server.connect()) for _ in range(8)
                ]
                for peer in peers:
                    peer.exchange(serialize_get())
                slowest = max(slowest, time.monotonic() - began_at)
        assert busy.read_response().body == b"late"
    assert slowest < scaled(0.6)
    service.server.wait_for_log("event=blocked")
    service.server.wait_for_log(r'File ".*app\.py", line \d+ in block')


def test_a_worker_that_stays_blocked_is_replaced(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = APP.replace("time.sleep(1.0)", "time.sleep(60)")
    options = ["--timeout", "1", "--graceful-timeout", "1"]
    service = start_service(live_server, tmp_path, *options, code=code)
    before = set(service.pids())
    with service.server.connect() as busy:
        busy.send(serialize_get("/block"))
        block_until(lambda: len(before & set(service.pids())) == 1, 15)
        service.wait_count(2)
    assert service.get().status == 200
