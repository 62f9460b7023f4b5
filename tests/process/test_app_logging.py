"""An app that configures logging as the standard library's examples do."""

from pathlib import Path

import pytest

from tests.process.service import APP, Service, change, start_service
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow
CONFIGURED = change(
    APP,
    "@web.add_route\nasync def pid(",
    """
import logging.config

def configure():
    handler = {"class": "logging.StreamHandler", "formatter": "own"}
    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {"own": {"format": "own: %(name)s %(message)s"}},
            "handlers": {"own": handler},
            "root": {"handlers": ["own"], "level": "INFO"},
        }
    )

configure()

@web.on_start
async def configure_at_start():
    configure()

@web.add_route
async def configure_now(r, route="/configure"):
    configure()
    await io.Deliver.text(r, "done")

@web.add_route
async def pid(""",
)


def test_tracebacks_of_handlers_are_logged_whenever_it_does_so(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=CONFIGURED, workers=1)
    assert service.get("/fail").status == 500
    service.server.wait_for_log("own: blazeio.app .*")
    assert service.server.log.count("RuntimeError: a fault of the app") == 1
    assert service.get("/configure").body == b"done"
    assert service.get("/fail").status == 500
    service.server.wait_for_log("(?s)(RuntimeError: a fault of the app.*){2}")
    assert "event=ready " in service.server.log  # the master's log is its own


LOG_CONFIG = """
[formatters.own]
format = "own %(levelname)s %(name)s: %(message)s"
[handlers.own]
class = "logging.StreamHandler"
formatter = "own"
[root]
handlers = ["own"]
level = "INFO"
"""


def test_a_file_configures_the_master_and_the_app(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "log.toml").write_text(LOG_CONFIG)
    says = "import logging\nlogging.getLogger('mine').info('imported')\n"
    (tmp_path / "app.py").write_text(says + APP)
    command = ["blazeio-supervisor", "app:web", "--workers", "1"]
    server = live_server.start(
        [*command, "--bind", "127.0.0.1:0", "--log-config", "log.toml"], cwd=tmp_path
    )
    server.wait_for_log("own INFO blazeio.master: event=ready ")
    service = Service(server, tmp_path)
    assert service.get("/fail").status == 500
    server.wait_for_log("own ERROR blazeio.app: ")
    assert server.log.count("own INFO mine: imported") == 1
    assert server.log.count("event=ready ") == 1
    verb = ["blazeio-supervisor", "events", "--instance", str(server.pid)]
    assert "ready" in run_to_exit(verb).stdout


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("log.toml", "a = [", "log.toml cannot be read: "),
        ("log.ini", "", "expected a name in .toml, .json, .yaml, .yml"),
        ("log.json", "[1]", "expected a table of settings"),
        ("none.toml", None, "No such file"),
        (
            "log.json",
            '{"handlers": {"x": {"class": "no.such"}}}',
            "--log-config: Unable to configure handler 'x': Cannot resolve 'no.such'",
        ),
    ],
)
def test_a_file_that_cannot_be_is_one_line(
    tmp_path: Path, name: str, text: str | None, line: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    (tmp_path / "app.py").write_text(APP)
    command = ["blazeio-supervisor", "app:web", "--log-config", name]
    done = run_to_exit(command, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert line in done.stderr
