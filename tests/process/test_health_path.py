import signal
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    start_service,
)
from tests.support.live import LiveServers
from tests.support.tls_peer import Certificates
from tests.support.variations import vary

pytestmark = pytest.mark.slow

HEALTHY = APP + (
    "\n@web.add_route\n"
    "async def health(r, route='/health'):\n"
    "    await io.Deliver.text(r, 'fine')\n"
)
WITHOUT_DATABASE = change(
    HEALTHY, "await io.Deliver.text(r, 'fine')", "raise io.Abort('no database', 500)"
)
DYING = change(HEALTHY, "await io.Deliver.text(r, 'fine')", "os._exit(7)")


def reload_in_vain(service: Service, code: str) -> str:
    (service.folder / "app.py").write_text(code)
    service.server.signal(signal.SIGHUP)
    (found,) = service.server.wait_for_log(r"event=reload_failed (.*)", timeout_s=15)
    return found[1]


@vary(
    ("code", "reason"),
    [
        (WITHOUT_DATABASE, "unhealthy: GET /health answered 500: no database"),
        (DYING, "exit code 7"),
    ],
    ids=["500", "dies"],
)
def test_unhealthy_code_leaves_the_old_workers_as_they_are(
    live_server: LiveServers, tmp_path: Path, code: str, reason: str
) -> None:
    options = ["--health-path", "/health"]
    service = start_service(live_server, tmp_path, *options, code=HEALTHY)
    before = service.pids()
    assert reason in reload_in_vain(service, code)
    service.wait_count(2)
    assert service.pids() == before
    assert int(service.get().body) in before


@pytest.mark.long
def test_healthy_code_is_taken(live_server: LiveServers, tmp_path: Path) -> None:
    options = ["--health-path", "/health"]
    service = start_service(live_server, tmp_path, *options, code=HEALTHY)
    before = service.pids()
    service.reload(2)
    service.wait_count(2)
    assert not set(before) & set(service.pids())


@pytest.mark.long
def test_an_app_behind_tls_is_asked_in_plain_http(
    live_server: LiveServers, tmp_path: Path
) -> None:
    certfile = Certificates(tmp_path).issue("localhost")
    tls = f'"127.0.0.1", 0, tls=io.TlsSettings(certfile="{certfile}")'
    code = change(HEALTHY, '"127.0.0.1", 0', tls)
    options = ["--health-path", "/health"]
    service = start_service(live_server, tmp_path, *options, code=code)
    service.reload(2)
    reason = reload_in_vain(service, code.replace("'fine'", "'ill', status=503"))
    assert "answered 503: ill" in reason
