import contextlib
import re
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    change,
    serialize_get,
    start_service,
)
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_new_connections_do_not_wait_for_a_blocked_worker(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = change(APP, "time.sleep(1.0)", "open('on', 'w').close(); time.sleep(2.5)")
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
    service.server.wait_for_log(
        r"worker=\d.* its loop is in GET /block \(for 1\.\d s\);"
    )


def test_whoever_is_free_takes_from_a_shared_queue(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = change(APP, "time.sleep(1.0)", "open('on', 'w').close(); time.sleep(1.5)")
    binds = ["--bind", "127.0.0.1:0", "--bind", "unix:s.sock"]
    service = start_service(live_server, tmp_path, *binds, code=code, workers=4)
    place = str(tmp_path / "s.sock")
    with BlockingPeer(place) as busy:
        busy.send(serialize_get("/block"))
        block_until((tmp_path / "on").exists)
        answered: set[bytes] = set()

        def have_the_others_answered() -> bool:
            with contextlib.ExitStack() as stack:
                peers = [stack.enter_context(BlockingPeer(place)) for _ in range(20)]
                for peer in peers:
                    peer.send(serialize_get())
                answered.update(peer.read_response().body for peer in peers)
            return len(answered) == 3

        block_until(have_the_others_answered, 1)
        assert busy.read_response().body == b"late"
    assert answered < {str(pid).encode() for pid in service.pids()}


@pytest.mark.long
def test_a_worker_that_stays_blocked_is_replaced(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = change(APP, "time.sleep(1.0)", "time.sleep(60)")
    options = ["--timeout", "1", "--graceful-timeout", "1"]
    service = start_service(live_server, tmp_path, *options, code=code)
    before = set(service.pids())
    with service.server.connect() as busy:
        busy.send(serialize_get("/block"))
        block_until(lambda: len(before & set(service.pids())) == 1, 15)
        service.wait_count(2)
    assert service.get().status == 200


LADDER = (
    ("steered", r"event=steered .*: (?:0 100|100 0)$", 0.1),
    ("adopted", r"event=adopted slot=\d: worker=\d accepts", 0.25),
    ("dumped", r"event=blocked worker=", 1.0),
    ("ended", r"event=worker_failed .*: its loop has stood still for", 2.0),
)
BEAT_S = 0.05  # the last one may have been this long before


@pytest.mark.long
def test_a_blocked_worker_climbs_the_ladder_step_by_step(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = change(
        APP,
        "time.sleep(1.0)",
        "open('at', 'w').write(str(time.time())); time.sleep(60)",
    )
    options = ["--timeout", "2", "--graceful-timeout", "1", "--log-level", "debug"]
    service = start_service(live_server, tmp_path, *options, code=code)
    service.server.wait_for_log(r"event=steered .*: 100 100$")
    before = len(service.server.log)
    with service.server.connect() as busy:
        busy.send(serialize_get("/block"))
        service.server.wait_for_log(LADDER[-1][1], timeout_s=10)
    log = service.server.log[before:]
    blocked_at = float((tmp_path / "at").read_text())
    after_s = {
        name: find_time(pattern, log) - blocked_at for name, pattern, _ in LADDER
    }
    assert list(after_s) == sorted(after_s, key=lambda name: after_s[name])
    for name, _, least_s in LADDER:
        assert least_s - BEAT_S - 0.01 < after_s[name] < least_s + scaled(1), after_s


def find_time(pattern: str, log: str) -> float:
    """When the log first says so, in seconds since the epoch."""
    # Not only at the begin of a line: a dump may be in the midst of one.
    found = re.search(rf"(\d{{4}}-\S+) +\w+ +{pattern}", log, re.MULTILINE)
    assert found is not None, (pattern, log)
    return datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
