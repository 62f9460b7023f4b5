"""What a process of the service does not import before it needs it.

Each of these takes memory for as long as the process lives, and time at each start and
reload.
"""

import contextlib
import zipfile
from pathlib import Path

import pytest

from tests.process.service import start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers, run_to_exit


def list_imported(module: str) -> set[str]:
    """List all that is there after one module was imported, in a fresh process."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = run_to_exit(["python", "-c", code], timeout_s=30)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


FORKSERVER = "blazeio_supervisor.worker.__main__"
MASTER = "blazeio_supervisor.master.master, blazeio_supervisor.cli.serve"


SELDOM_USED = {"difflib", "email.utils", "html", "opentelemetry", "prometheus_client"}
"""Of the standard library and of dependencies: for mistakes, pages and others' apps."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "unused"),
    [
        (
            FORKSERVER,
            {
                "blazeio.app.request",
                "blazeio.client.session",
                "blazeio.gateways.asgi",
                "blazeio.gateways.wsgi",
                "blazeio.websocket.websocket",
                "click",
                "prometheus_client",
                "psutil",
                "rich",
                "websockets",
                *SELDOM_USED,
            },
        ),
        (
            MASTER,
            {
                "blazeio.client.session",
                "blazeio.gateways.asgi",
                "blazeio.gateways.wsgi",
                "blazeio.protocol",
                "blazeio.websocket.websocket",
                "blazeio.wire",
                "hashlib",
                "importlib.metadata",
                "ipaddress",
                "logging.config",
                "pathlib",
                "prometheus_client",
                "psutil",
                "rich",
                "secrets",
                "tomllib",
                "urllib.parse",
                "urllib.request",
                "uvloop",
                "websockets",
                *SELDOM_USED,
            },
        ),
        ("blazeio", SELDOM_USED),
    ],
)
def test_what_is_used_later_or_never_is_not_imported_at_the_start(
    module: str, unused: set[str]
) -> None:
    assert not list_imported(module) & unused


UNMAPPED = ("libssl", "libcrypto", "unicodedata")
"""Parts of the standard library, compiled: TLS, hashes, names of hosts in Unicode."""


def list_kept(pid: int) -> set[str]:
    """List the packages whose modules a started master has imported.

    The image that it keeps, to come back to from an upgrade, has them all but those of
    the standard library.
    """
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if "memfd:blazeio-image" in str(fd.readlink()):
                with fd.open("rb") as file, zipfile.ZipFile(file) as image:
                    return {name.partition("/")[0] for name in image.namelist()}
    return set()


@pytest.mark.slow
def test_a_started_master_has_not_imported_what_it_does_not_need(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    pid = service.server.pid
    block_until(lambda: list_kept(pid))
    kept = list_kept(pid)
    assert {"blazeio", "blazeio_supervisor"} <= kept
    assert not kept & {"prometheus_client", "rich", "uvloop", "websockets", "idna"}
    assert "click" not in kept  # it was, while the command line was read
    mapped = Path(f"/proc/{pid}/maps").read_text()
    assert not [name for name in UNMAPPED if name in mapped]
