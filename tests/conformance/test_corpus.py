"""The black-box corpus, against our server, on both loops.

``corpus/run.py HOST PORT`` runs it by hand against any server that has
``GET /`` -> ``ok`` and ``POST /echo`` -> the body; ``-v`` shows every case.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live import LiveServers

HERE = Path(__file__).parent
CASES = 284
"""Those that need no static files."""
STATIC_CASES = 31


@pytest.mark.slow
@pytest.mark.parametrize(
    "loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.long)]
)
def test_every_case_of_the_corpus_is_right(live_server: LiveServers, loop: str) -> None:
    target = live_server.start(["python", str(HERE / "target.py"), loop, "0"])
    run = [sys.executable, str(HERE / "corpus" / "run.py"), target.host]
    done = subprocess.run(
        [*run, str(target.port), "--json", "--jobs", "16", "--ws", "/ws"],
        capture_output=True,
        timeout=55,
        check=False,
    )
    report = json.loads(done.stdout)
    missed = [each for each in report["results"] if each["verdict"] != "ok"]
    assert missed == []
    assert report["summary"]["ok"] == CASES
    assert report["alive_after"]


@pytest.mark.long
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(("kind", "is_right"), [("asgi", CASES), ("wsgi", 274)])
def test_every_case_is_right_for_an_app_of_another_interface(
    live_server: LiveServers, loop: str, kind: str, is_right: int
) -> None:
    target = live_server.start(["python", str(HERE / "gateway_target.py"), loop, kind])
    run = [sys.executable, str(HERE / "corpus" / "run.py"), target.host]
    how = ["--json", "--jobs", "16", *(["--ws", "/ws"] if kind == "asgi" else [])]
    done = subprocess.run(
        [*run, str(target.port), *how], capture_output=True, timeout=55, check=False
    )
    report = json.loads(done.stdout)
    assert [
        each for each in report["results"] if each["verdict"] in ("wrong", "warn")
    ] == []
    assert report["summary"]["ok"] == is_right
    assert report["alive_after"]


@pytest.mark.long
@pytest.mark.parametrize("path", ["/static/file.bin", "/cached/file.bin"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_every_case_of_static_files_is_right(
    live_server: LiveServers, loop: str, path: str
) -> None:
    target = live_server.start(["python", str(HERE / "target.py"), loop, "0"])
    run = [sys.executable, str(HERE / "corpus" / "run.py"), target.host]
    how = ["--json", "--jobs", "16", "--static", path, "--only", "^static/"]
    done = subprocess.run(
        [*run, str(target.port), *how], capture_output=True, timeout=55, check=False
    )
    report = json.loads(done.stdout)
    assert [each for each in report["results"] if each["verdict"] != "ok"] == []
    assert report["summary"]["ok"] == STATIC_CASES
    assert report["alive_after"]


@pytest.mark.long
def test_the_corpus_tells_a_lax_server_from_a_strict_one(
    live_server: LiveServers,
) -> None:
    """A judge that is always content would make the test above worthless."""
    lax = live_server.start(["python", str(HERE / "lax_target.py")])
    run = [sys.executable, str(HERE / "corpus" / "run.py"), lax.host, str(lax.port)]
    done = subprocess.run(
        [*run, "--json", "--jobs", "16", "--only", "^(host|cl-te|te|headers)/"],
        capture_output=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["summary"]["wrong"] > 20
