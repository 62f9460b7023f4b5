"""An app that configures logging as the standard library's examples do."""

from pathlib import Path

import pytest

from tests.process.service import APP, change, start_service
from tests.support.live import LiveServers

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
