import pytest

from tests.support.live import LiveServers


@pytest.mark.slow
def test_lines_are_answered_by_supervised_workers(live_server: LiveServers) -> None:
    command = "blazeio-supervisor raw_protocol:web --app-dir examples"
    server = live_server.start(f"{command} --workers 2 --bind 127.0.0.1:0".split())
    server.wait_for_log("event=ready")
    with server.connect() as peer:
        peer.send(b"set colour blue\nget colour\nget si")
        peer.send(b"ze\nwhat\n")
        peer.half_close()
        answers = peer.read_until_end()
    assert answers == b"ok\nblue\nnothing\nset NAME VALUE, or get NAME\n"
