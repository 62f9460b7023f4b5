import re
from pathlib import Path

import psutil
import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    read_title,
    serialize_get,
    start_service,
)
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(
    shared_servers: LiveServers, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Of all that only look."""
    return start_service(shared_servers, tmp_path_factory.mktemp("shared"))


def test_a_route_a_missing_one_and_one_that_fails(service: Service) -> None:
    assert service.get().status == 200
    assert service.get("/none").status == 404
    response = service.get("/fail")
    assert response.status == 500
    assert "a fault of the app" not in response.text
    service.server.wait_for_log("RuntimeError: a fault of the app")
    assert service.get().status == 200


def test_a_connection_is_kept(service: Service) -> None:
    with service.server.connect() as peer:
        pids = {peer.exchange(serialize_get()).rpartition(b"\r\n")[2] for _ in range(9)}
    assert len(pids) == 1


def test_each_process_is_titled(service: Service) -> None:
    titles = [read_title(each) for each in service.server.children("blazeio: ")]
    assert sorted(titles) == [
        "blazeio: forkserver gen 1",
        "blazeio: worker 0 gen 1 [app:web]",
        "blazeio: worker 1 gen 1 [app:web]",
    ]
    master = psutil.Process(service.server.pid)
    assert read_title(master) == "blazeio: master [app:web]"
    assert {each.ppid() for each in service.server.children()} == {master.pid}


def test_every_worker_gets_connections(service: Service) -> None:
    service.wait_everybody_answers()


def test_the_banner_says_what_is_served_where(service: Service) -> None:
    service.server.wait_for_log(
        r"event=listening app:web on http://127\.0\.0\.1:\d+: 2 workers, "
        r"a queue per slot, uvloop, pid \d+"
    )


@vary(
    ("app", "loop"),
    [("app:make", "asyncio"), ("app.py", "uvloop"), ("app:web", "asyncio")],
)
def test_an_app_a_factory_and_a_script_are_served(
    live_server: LiveServers, tmp_path: Path, app: str, loop: str
) -> None:
    service = start_service(live_server, tmp_path, "--loop", loop, app=app)
    assert int(service.get().body) in service.pids()


def test_the_address_of_the_app_is_used_when_none_is_given(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = change(APP, '"127.0.0.1", 0', '"127.0.0.2", 0')
    service = start_service(live_server, tmp_path, code=code)
    assert service.server.host == "127.0.0.2"
    assert service.get().status == 200


def test_all_addresses_are_served(live_server: LiveServers, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    binds = ["--bind", "127.0.0.1:0", "--bind", "[::1]:0", "--bind", f"unix:{path}"]
    service = start_service(live_server, tmp_path, *binds)
    (found,) = service.server.wait_for_log(
        r"on http://(127\.0\.0\.1):(\d+) http://\[(::1)\]:(\d+) unix:\S+: "
    )
    for host, port in ((found[1], found[2]), (found[3], found[4])):
        with BlockingPeer(host, int(port)) as peer:
            assert b"200 OK" in peer.exchange(serialize_get())
    with BlockingPeer(path) as peer:
        assert b"200 OK" in peer.exchange(serialize_get())


def test_an_app_in_another_folder_is_found(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "beside.py").write_text(APP)
    service = start_service(
        live_server, tmp_path, "--app-dir", "src", app="beside:web", code=""
    )
    assert service.get().status == 200


def test_a_file_of_the_app_does_not_replace_one_of_ours(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "logging.py").write_text("raise RuntimeError('not this one')\n")
    service = start_service(live_server, tmp_path)
    assert service.get().status == 200


@pytest.mark.long
def test_an_import_with_a_thread_is_told_and_served(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = APP + (
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True, name='poll')"
        ".start()\n"
    )
    service = start_service(live_server, tmp_path, code=code)
    service.server.wait_for_log(r"event=fork_unsafe .*the thread 'poll' is running")
    assert int(service.get().body) in service.pids()


def test_a_client_that_comes_before_the_import_is_served(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("import time\ntime.sleep(0.5)\n" + APP)
    command = ["blazeio-supervisor", "app:web", "--bind", "127.0.0.1:0"]
    server = live_server.start(command, cwd=tmp_path)
    assert re.search(rb"200 OK", server.exchange(serialize_get()))
