"""What a process of the service does not import before it needs it.

Each of these takes memory for as long as the process lives, and time at each start and
reload.
"""

import pytest

from tests.support.live import run_to_exit


def list_imported(module: str) -> set[str]:
    """List all that is there after one module was imported, in a fresh process."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = run_to_exit(["python", "-c", code], timeout_s=30)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


FORKSERVER = "blazeio_supervisor.worker.__main__"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "unused"),
    [
        (
            FORKSERVER,
            {
                "blazeio.client.session",
                "blazeio.gateways.asgi",
                "blazeio.gateways.wsgi",
                "blazeio.websocket.websocket",
                "click",
                "prometheus_client",
                "psutil",
                "rich",
                "websockets",
            },
        ),
    ],
)
def test_what_is_used_later_or_never_is_not_imported_at_the_start(
    module: str, unused: set[str]
) -> None:
    assert not list_imported(module) & unused
