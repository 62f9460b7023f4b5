"""The master is killed: nothing of ours may stay."""

import signal
import socket
import time

from tests.process.service import serialize_get
from tests.soak.run import Run
from tests.support.clock import block_until
from tests.support.live import LiveServer

GRACE_S = 5.0
MARGIN_S = 2.0


def kill_the_master(run: Run) -> None:
    """With one worker blocked and one request that never ends."""
    options = ("--graceful-timeout", f"{GRACE_S:g}")
    with run.serve(*options) as service:
        server = service.server
        with server.connect(30) as blocked, server.connect(30) as endless:
            blocked.send(serialize_get("/block?600"))
            endless.send(serialize_get("/forever"))
            # from here on no new connection waits for the blocked one
            server.wait_for_log("event=blocked")
            with server.connect() as slow:
                slow.send(serialize_get("/slow"))
                killed_at = time.monotonic()
                server.signal(signal.SIGKILL)
                answered = slow.read_response().body == b"late"
            run.check("what is in flight is answered", answered, holds=answered)
            server.wait_exit()
            block_until(lambda: is_free(server), GRACE_S + MARGIN_S, "the port is free")
            free_s = time.monotonic() - killed_at
            server.wait_group_gone(GRACE_S + MARGIN_S + 5)
            gone_s = time.monotonic() - killed_at
        most_s = GRACE_S + MARGIN_S
        run.check_most("the port is free after", free_s, most_s, " s")
        run.check_most("no process is left after", gone_s, most_s, " s")


def is_free(server: LiveServer) -> bool:
    """Whether another program could listen there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((server.host, server.port))
            sock.listen()
        except OSError:
            return False
        return True
