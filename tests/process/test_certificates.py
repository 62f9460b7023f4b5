import signal
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tests.process.service import (
    APP,
    change,
    serialize_get,
    start_service,
)
from tests.support.live import LiveServers, run_to_exit
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow
OVER_TLS = change(
    APP,
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


@pytest.mark.long
@vary("app", ["app:web", "app.py"])
def test_the_certificate_of_the_command_line_is_reread_at_reload_if_it_can_be(
    live_server: LiveServers, tmp_path: Path, app: str
) -> None:
    authority = issue(tmp_path)
    service = start_service(live_server, tmp_path, "--certfile", "site.pem", app=app)
    service.server.wait_for_log(r"event=listening \S+ on https://127\.0\.0\.1:")
    port = service.server.port
    first = set(get_over_tls(port, authority))

    (tmp_path / "site.pem").write_text("nothing")
    service.server.signal(signal.SIGHUP)
    service.server.wait_for_log("TLS certfile site.pem: holds no PEM certificate")
    assert first & set(get_over_tls(port, authority))

    authority = issue(tmp_path)
    service.reload(3)
    assert not first & set(get_over_tls(port, authority))


@pytest.mark.long
def test_a_first_certificate_that_a_reload_brings_is_said(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    service.server.wait_for_log(r"event=listening \S+ on http://127\.0\.0\.1:")
    authority = issue(tmp_path)
    (tmp_path / "blazeio.toml").write_text("certfile = 'site.pem'\n")
    service.reload(2)
    service.server.wait_for_log(r"event=listening \S+ on https://127\.0\.0\.1:")
    assert get_over_tls(service.server.port, authority)


@pytest.mark.long
def test_the_banner_says_https_where_only_the_app_knows(
    live_server: LiveServers, tmp_path: Path
) -> None:
    issue(tmp_path)
    bind = ["--bind", "127.0.0.1:0"]
    service = start_service(
        live_server, tmp_path, *bind, code=OVER_TLS, workers=1, app="app.py"
    )
    service.server.wait_for_log(r"event=listening app\.py on https://127\.0\.0\.1:")


def test_a_certificate_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(OVER_TLS)
    done = run_to_exit(
        ["blazeio-supervisor", "app:web", "--workers", "1"], cwd=tmp_path
    )
    assert done.returncode == 3
    assert "site.pem" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_certificate_of_the_command_line_that_cannot_be_read_is_wrong_usage(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text("1 / 0  # comes after the certificate")
    command = ["blazeio-supervisor", "app:web", "--certfile", "none.pem"]
    done = run_to_exit(command, cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert [line.endswith("TLS certfile none.pem: no such file") for line in lines] == [
        True
    ]
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_one_address_may_be_plain_beside_another_that_is_not(
    live_server: LiveServers, tmp_path: Path
) -> None:
    authority = issue(tmp_path)
    binds = ["--bind", "https://127.0.0.1:0", "--bind", "http://127.0.0.1:0"]
    service = start_service(live_server, tmp_path, "--certfile", "site.pem", *binds)
    log = r"event=listening \S+ on https://127\.0\.0\.1:(\d+) http://127\.0\.0\.1:(\d+)"
    over_tls, plain = map(int, service.server.wait_for_log(log)[0].groups())
    pids = {str(pid) for pid in service.pids()}
    assert set(get_over_tls(over_tls, authority)) <= pids
    with BlockingPeer("127.0.0.1", plain) as peer:
        answer = peer.exchange(serialize_get("/", "Connection: close"))
    assert answer.rpartition(b"\r\n")[2].decode() in pids


@pytest.mark.long
def test_https_without_a_certificate_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    words = ["blazeio-supervisor", "app:web", "--bind", "https://127.0.0.1:0"]
    done = run_to_exit(words, cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no certificate: give --certfile, or the App its tls" in done.stderr
