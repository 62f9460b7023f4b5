"""A boot that hangs, or ends without a word, says why: at a start and in ``check``."""

import re
import signal
from pathlib import Path

import pytest

from tests.process.service import APP, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow
HANGS = "import time\n\ndef connect():\n    time.sleep(60)\n\nconnect()\n"
SILENT_ENDS = [
    pytest.param(
        "import os; os._exit(2)",
        4,
        r"the app ended its own process while it was imported: os\._exit\(2\)",
        id="exit",
    ),
    pytest.param(
        "import os; os._exit(0)", 4, r"while it was imported: os\._exit\(0\)", id="0"
    ),
    pytest.param(
        "import os; os.closerange(3, 256)",
        4,
        r"the app has closed descriptors that it did not open, while it was imported",
        id="closes",
    ),
    pytest.param(
        "import os; os.closerange(3, 256); f = [open('/dev/null') for _ in range(99)]",
        4,
        r"the app has closed descriptors that it did not open",
        id="closes and opens others",
    ),
    pytest.param(
        "class Odd(Exception):\n    def __str__(self): 1 / 0\nraise Odd",
        4,
        r"Odd, whose text cannot be shown \(ZeroDivisionError in __str__\)",
        id="unshowable",
    ),
    pytest.param("import os; os.kill(os.getpid(), 11)", 3, "SIGSEGV", id="segv"),
]


@pytest.mark.parametrize(
    "preload",
    ["--preload", pytest.param("--no-preload", marks=pytest.mark.long)],
)
@vary(("code", "status", "reason"), SILENT_ENDS)
def test_an_import_that_ends_without_a_word_is_told_as_what_it_is(
    tmp_path: Path, code: str, status: int, reason: str, preload: str
) -> None:
    (tmp_path / "app.py").write_text(f"{code}\n{APP}")
    options = [] if preload == "--preload" else [preload]
    command = ["blazeio-supervisor", "app:web", "--bind", "127.0.0.1:0", *options]
    done = run_to_exit(command, cwd=tmp_path)
    assert done.returncode == status
    (line,) = re.findall("(?m)^.*event=boot_failed.*$", done.stderr)
    assert re.search(reason, line)
    assert "is its installation whole" not in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("code", "status", "reason"), SILENT_ENDS)
def test_check_gives_the_same_reason(
    tmp_path: Path, code: str, status: int, reason: str
) -> None:
    (tmp_path / "app.py").write_text(f"{code}\n{APP}")
    done = run_to_exit(["blazeio-supervisor", "check", "app:web"], cwd=tmp_path)
    assert re.search(reason, done.stderr)
    assert done.returncode in (status, 4)


@pytest.mark.long
@pytest.mark.parametrize("app", ["app:web", "app.py"])
def test_an_import_that_hangs_says_where_before_and_at_its_end(
    tmp_path: Path, app: str
) -> None:
    (tmp_path / "models.py").write_text(HANGS)
    (tmp_path / "app.py").write_text(f"import models\n{APP}")
    command = ["blazeio-supervisor", app, "--bind", "127.0.0.1:0", "--workers", "1"]
    done = run_to_exit([*command, "--boot-timeout", "3"], cwd=tmp_path)
    assert done.returncode == 3
    slow = re.findall("(?m)^.*WARNING event=boot_slow.*$", done.stderr)
    place, module = r"connect \(\S*/models\.py:4\)", r"\S*/models\.py \(line 6\)"
    where = re.compile(f"it is in {place}, importing {module}")
    # On a busy machine the first comes while what imports it is imported itself.
    assert len(slow) >= 2
    assert re.search(r"not ready after 1\.\d of 3 s \(--boot-timeout\)", slow[0])
    assert re.search(r"not ready after 3\.\d of 3 s", slow[-1])
    assert where.search(slow[-1])
    assert "event=boot_failed" in done.stderr


@pytest.mark.long
def test_check_says_where_an_import_hangs(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANGS)
    command = ["blazeio-supervisor", "check", "app:web", "--boot-timeout", "2"]
    done = run_to_exit(command, cwd=tmp_path)
    assert done.returncode == 3
    assert "not imported within 2 s (--boot-timeout): it is in" in done.stderr
    assert re.search(r"it is in connect \(\S*app\.py:4\)", done.stderr)


def test_a_start_hook_that_hangs_is_shown_by_the_verb_and_the_log(
    live_server: LiveServers, tmp_path: Path
) -> None:
    hook = "import time\n@web.on_start\nasync def hang():\n    time.sleep(60)\n"
    code = APP.replace("def make():", f"{hook}\ndef make():")
    (tmp_path / "app.py").write_text(code)
    command = ["blazeio-supervisor", "app:web", "--bind", "127.0.0.1:0"]
    options = ["--boot-timeout", "30", "--workers", "1", "--name", tmp_path.name]
    server = live_server.start(
        [*command, *options], cwd=tmp_path, ready="event=listening"
    )
    server.wait_for_log("event=loaded")
    verb = ["blazeio-supervisor", "stack", "--instance", str(server.pid)]
    shown = run_to_exit(verb, cwd=tmp_path).stdout
    assert re.search(r'app\.py", line \d+ in hang', shown)
    server.signal(signal.SIGINT)
    assert server.wait_exit() == 0


@pytest.mark.long
def test_the_verb_shows_a_forkserver_that_still_imports(
    live_server: LiveServers, tmp_path: Path
) -> None:
    server = start_service(live_server, tmp_path, workers=1).server
    (tmp_path / "app.py").write_text(HANGS)
    server.signal(signal.SIGHUP)
    server.wait_for_log("event=reloading ")
    verb = ["blazeio-supervisor", "stack", "--instance", str(server.pid)]

    def shows() -> bool:
        shown = run_to_exit(verb, cwd=tmp_path).stdout
        return "== forkserver" in shown and "it is in connect" in shown

    block_until(shows, 10)
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
