import signal

import pytest

from tests.support.live import DiedEarlyError, LiveServers, run_to_exit

SERVE = """
import http.server, sys
class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
print(f"serving http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
ORPHAN = """
import os, time, sys
if os.fork() == 0:
    time.sleep(60)
print("serving http://127.0.0.1:1", flush=True)
os.read(0, 1) if len(sys.argv) > 1 else time.sleep(60)
"""


def test_the_port_is_read_from_the_banner(live_server: LiveServers) -> None:
    server = live_server.start(["python", "-c", SERVE])
    answer = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nok")


def test_a_signal_and_the_exit_status_are_seen(live_server: LiveServers) -> None:
    server = live_server.start(["python", "-c", SERVE])
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == -signal.SIGTERM
    assert not server.is_running()


def test_a_process_that_dies_fails_at_once_with_its_log(
    live_server: LiveServers,
) -> None:
    with pytest.raises(DiedEarlyError, match=r"ended with 7.*(?s:.*)no luck"):
        live_server.start(["python", "-c", "print('no luck'); raise SystemExit(7)"])


def test_a_missing_program_is_named(live_server: LiveServers) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        live_server.start(["no-such-program"])


def test_children_are_listed_and_end_with_the_test(live_server: LiveServers) -> None:
    server = live_server.start(["python", "-c", ORPHAN])
    assert len(server.children("python")) == 1
    assert len(server.group()) == 2


def test_an_orphan_is_still_found_in_the_group(live_server: LiveServers) -> None:
    server = live_server.start(["python", "-c", ORPHAN])
    server.signal(signal.SIGKILL)
    server.wait_exit()
    (orphan,) = server.group()
    orphan.kill()
    server.wait_group_gone()


def test_run_to_exit_gives_output_and_status() -> None:
    done = run_to_exit(["python", "-c", "print('out'); raise SystemExit(3)"])
    assert (done.returncode, done.stdout) == (3, "out\n")
