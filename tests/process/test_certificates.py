import signal
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tests.process.service import APP, serialize_get, start_service
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow
OVER_TLS = APP.replace(
    'io.App("127.0.0.1", 0)',
    'io.App("127.0.0.1", 0, tls=io.TlsSettings(certfile="site.pem"))',
)


def issue(folder: Path) -> trustme.CA:
    """A new certificate with its key, and who signed it."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    made.private_key_and_cert_chain_pem.write_to_path(str(folder / "site.pem"))
    return authority


def get_over_tls(port: int, authority: trustme.CA, times: int = 8) -> list[str]:
    """The pid that answers each of several connections."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    pids = []
    for _ in range(times):
        plain = socket.create_connection(("127.0.0.1", port), 5)
        with context.wrap_socket(plain, server_hostname="localhost") as peer:
            peer.sendall(serialize_get("/", "Connection: close"))
            pids.append(peer.makefile("rb").read().rpartition(b"\r\n")[2].decode())
    return pids


def test_the_apps_tls_is_spoken_by_every_worker_and_reread_at_reload(
    live_server: LiveServers, tmp_path: Path
) -> None:
    authority = issue(tmp_path)
    service = start_service(live_server, tmp_path, code=OVER_TLS)
    workers = {str(pid) for pid in service.pids()}
    assert set(get_over_tls(service.server.port, authority)) <= workers

    authority = issue(tmp_path)
    service.server.signal(signal.SIGHUP)
    service.server.wait_for_log("event=reloaded")
    assert get_over_tls(service.server.port, authority)


def test_a_certificate_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(OVER_TLS)
    done = run_to_exit(
        ["blazeio-supervisor", "app:web", "--workers", "1"], cwd=tmp_path
    )
    assert done.returncode == 3
    assert "site.pem" in done.stderr
    assert "Traceback" not in done.stderr
