"""What the forkserver has answered before the fork is there in each worker."""

from pathlib import Path

import pytest

from tests.process.service import APP, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.variations import vary

pytestmark = pytest.mark.slow

CACHING = APP + (
    "\nmade_by = []\n"
    "@web.on_warm\n"
    "async def fill():\n"
    "    made_by.append('hook')\n"
    "\n@web.add_route\n"
    "async def page(r, route='/page'):\n"
    "    if len(made_by) < 2:\n"
    "        made_by.append(os.getpid())\n"
    "    await io.Deliver.text(r, f'{made_by[0]} {made_by[-1]}')\n"
)


@vary("kind", ["by each worker", "once for all workers"])
def test_what_was_made_before_the_fork_is_shared(
    live_server: LiveServers, tmp_path: Path, kind: str
) -> None:
    options = ["--warm", "/page", "--warm", "/nothing"]
    if kind == "by each worker":
        options = [*options, "--no-preload"]
    service = start_service(live_server, tmp_path, *options, code=CACHING)
    answers = {service.get("/page").text for _ in range(20)}
    log = service.server.log
    if kind == "by each worker":
        assert "warm" not in log.replace("--warm", "")
        made_by = {answer.split()[1] for answer in answers}
        assert made_by <= {str(pid) for pid in service.pids()}
        return
    forkservers = service.server.children("blazeio: forkserver")
    assert answers == {f"hook {forkservers[0].pid}"}
    assert "imported once for all workers, and was warmed 2 times" in log
    assert "event=warm_failed" in log
    assert "each worker does it anew: GET /nothing: status 404" in log
    service.reload(2)
    service.wait_count(2)
    block_until(lambda: len(service.server.children("blazeio: forkserver")) == 1)
    (forkserver,) = service.server.children("blazeio: forkserver")
    assert service.get("/page").text == f"hook {forkserver.pid}"
