"""The live page: at ``--metrics-bind``, and by the verb ``dashboard``."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.process.service import Service, start_service
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow
TOKEN = "let-me-order"


def start(live_server: LiveServers, folder: Path, *options: str) -> Service:
    (folder / "token").write_text(f"{TOKEN}\nnot this line\n")
    return start_service(
        live_server,
        folder,
        "--metrics-bind",
        "127.0.0.1:0",
        "--dashboard",
        *options,
        workers=2,
    )


@pytest.fixture(scope="module")
def shared(
    shared_servers: LiveServers, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """With a token, of all that only look."""
    folder = tmp_path_factory.mktemp("shared")
    return start(shared_servers, folder, "--dashboard-token-file", "token")


@pytest.fixture(scope="module")
def without_token(
    shared_servers: LiveServers, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Of two tests, of which only one opens what it looks at."""
    return start(shared_servers, tmp_path_factory.mktemp("without"))


def find_page(service: Service) -> str:
    (found,) = service.server.wait_for_log(r"event=metrics .* at (?P<at>[\d.:]+)")
    return f"http://{found['at']}/dashboard"


@contextmanager
def feed(page: str, token: str = "") -> Iterator[Iterator[Any]]:
    """What the page is told, one look after the other."""
    url = f"{page}/live" + (f"?token={token}" if token else "")
    with httpx.stream("GET", url, timeout=scaled(20)) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = (each for each in answer.iter_lines() if each.startswith("data: "))
        yield (json.loads(each[6:]) for each in lines)


def order(page: str, what: str, token: str = TOKEN) -> httpx.Response:
    headers = {"X-Dashboard-Token": token}
    return httpx.post(f"{page}/{what}", headers=headers, timeout=scaled(20))


def test_it_tells_what_happens(live_server: LiveServers, tmp_path: Path) -> None:
    service = start(live_server, tmp_path)
    page = find_page(service)
    service.get("/fail")
    with feed(page) as looks:
        first = next(looks)
        assert first["status"]["is_ready"]
        assert {each["slot"] for each in first["status"]["workers"]} == {0, 1}
        assert first["responses"]["5xx"] == sum(first["latency_counts"]) == 1
        assert len(first["latency_counts"]) == len(first["latency_bounds_s"]) + 1
        assert "ready" in {each["event"] for each in first["events"]}
        assert not first.get("can_order", False)
        os.kill(service.pids()[0], signal.SIGKILL)
        told: set[str] = set()
        while "worker_failed" not in told:
            told |= {each["event"] for each in next(looks)["events"]}
            assert "ready" not in told  # an event is told once


def test_the_page_runs_its_own_script_alone(shared: Service) -> None:
    answer = httpx.get(find_page(shared))
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)


@pytest.mark.parametrize("given", ["", "wrong"])
def test_without_the_token_nothing_is_ordered(shared: Service, given: str) -> None:
    page, before = find_page(shared), shared.pids()
    for what in ("reload", "recycle/0", "stack/0"):
        assert order(page, what, given).status_code == 403
        assert httpx.get(f"{page}/{what}").status_code == 405
    with feed(page, given) as looks:
        assert not next(looks).get("can_order", False)
    assert shared.pids() == before


def test_with_the_token_it_orders(live_server: LiveServers, tmp_path: Path) -> None:
    service = start(live_server, tmp_path, "--dashboard-token-file", "token")
    page, before = find_page(service), service.workers()
    with feed(page, TOKEN) as looks:
        assert next(looks)["can_order"]
    (told,) = order(page, "stack/0").json()["workers"]
    assert told["pid"] == before[0][1]
    assert "most recent call first" in told["text"]
    assert order(page, "recycle/0").status_code == 204
    service.wait_for(
        lambda now: now[0][1] != before[0][1] and now[1] == before[1], "another worker"
    )
    assert order(page, "reload").status_code == 204
    service.server.wait_for_log("event=reload_ok .*the dashboard")
    assert order(page, "stack/99").status_code == 409


def test_without_a_token_file_no_token_is_right(without_token: Service) -> None:
    page = find_page(without_token)
    assert order(page, "recycle/0", "").status_code == 403
    assert order(page, "recycle/0", TOKEN).status_code == 403


def test_it_is_not_there_unless_asked_for(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--metrics-bind", "127.0.0.1:0")
    assert httpx.get(find_page(service)).status_code == 404


def test_so_many_may_look(without_token: Service) -> None:
    page = find_page(without_token)
    with httpx.Client(timeout=scaled(20)) as client:
        open_ones = [
            client.stream("GET", f"{page}/live") for _ in range(9)
        ]  # closed with the client
        codes = [each.__enter__().status_code for each in open_ones]
        assert codes == [200] * 8 + [503]
        assert httpx.get(page.replace("dashboard", "livez")).status_code == 200
        for each in open_ones:
            each.__exit__(None, None, None)
    block_until(
        lambda: httpx.get(page.replace("dashboard", "readyz")).status_code == 200, 10
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dashboard"], "--dashboard: it needs an address: give --metrics-bind"),
        (["--dashboard-token-file", "none"], "none: No such file or directory"),
        (["--dashboard-token-file", "empty"], "empty: its first line is empty"),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "app.py").write_text("import blazeio as io\nweb = io.App()\n")
    (tmp_path / "empty").write_text("\n")
    done = run_to_exit(["blazeio-supervisor", "app:web", *words], cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_the_verb_serves_it_to_who_has_the_token(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--control", "c.sock")
    place = str(service.folder / "c.sock")
    verb = live_server.start(
        ["blazeio-supervisor", "dashboard", "--no-open", "--control", place]
    )
    (found,) = verb.wait_for_log(r"(?P<page>http://\S+/dashboard)#(?P<token>\S+)")
    page, token = found["page"], found["token"]
    assert httpx.get(page).status_code == 200
    assert httpx.get(f"{page}/live").status_code == 403
    assert order(page, "reload").status_code == 403
    with feed(page, token) as looks:
        assert next(looks)["can_order"]
        assert order(page, "reload", token).status_code == 204
        service.server.wait_for_log("event=reload_ok")
        assert order(page, "stack/77", token).status_code == 409
        service.server.signal(signal.SIGTERM)
        service.server.wait_exit()
        list(looks)  # it ends, when there is no service any more
    verb.signal(signal.SIGINT)
    assert verb.wait_exit() == 0
    assert "Traceback" not in verb.log


@pytest.mark.long
def test_the_verb_needs_a_service_and_a_free_port(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--control", "c.sock")
    words = ["blazeio-supervisor", "dashboard", "--no-open", "--control"]
    done = run_to_exit([*words, str(tmp_path / "nobody.sock")])
    assert done.returncode == 6
    port = str(service.server.port)
    done = run_to_exit([*words, str(service.folder / "c.sock"), "--port", port])
    assert done.returncode == 2
    assert f"cannot bind 127.0.0.1:{port}: Address already in use" in done.stderr
