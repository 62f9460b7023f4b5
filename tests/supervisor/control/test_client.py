"""Against small servers of the test; against real ones: tests/process."""

import errno
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.control.answers import ScaleOrder, ServiceAnswer, StopAnswer
from blazeio_supervisor.control.client import (
    ANSWER_TIMEOUT_S,
    Client,
    NotAllowedError,
    NotAnsweringError,
    NotRunningError,
    find_client,
    watched_end,
)
from blazeio_supervisor.control.places import Place, Search
from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError

UID = os.geteuid()


def answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def has_asked(sock: socket.socket) -> bool:
    """Read a whole request; False when nothing was asked."""
    head, content = b"", b""
    while octets := sock.recv(65536):
        head, _, content = (head + octets).partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if len(content) == (int(length[1]) if length else 0):
            return True
        head += b"\r\n\r\n" + content
    return False


@contextmanager
def served(place: Place, octets: bytes) -> Iterator[Client]:
    """Answers every connection with the same octets."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.address)
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    if has_asked(sock):
                        sock.sendall(octets)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Client(place, UID)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "c.sock"))


def describe(pid: int) -> bytes:
    service = ServiceAnswer(pid=pid, app="app:web", addresses=["http://127.0.0.1:1"])
    return answer(msgspec.json.encode(service))


def test_an_answer_is_read_as_what_it_should_be(place: Place) -> None:
    with served(place, answer(b'{"pid":7}')) as client:
        assert client.ask("POST", "/stop", StopAnswer) == StopAnswer(7)


@pytest.mark.parametrize("is_left", [True, False], ids=["killed", "never"])
def test_nobody_there_has_an_exit_code_of_its_own(place: Place, is_left: bool) -> None:
    if is_left:
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(place.address)
    with pytest.raises(NotRunningError, match=place.text) as caught:
        Client(place, UID).ask("POST", "/stop", StopAnswer)
    assert caught.value.exit_code == ExitCode.NOT_RUNNING


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", UsageError),
        ("403 Forbidden", SupervisorError),
        ("409 Conflict", SupervisorError),
    ],
)
def test_a_refusal_is_its_one_line(
    place: Place, status: str, kind: type[SupervisorError]
) -> None:
    octets = answer(b'{"error":"not now"}', status)
    with served(place, octets) as client, pytest.raises(kind) as caught:
        client.ask("POST", "/scale", StopAnswer, ScaleOrder(1))
    assert str(caught.value) == "not now"
    assert type(caught.value) is kind


def test_a_verb_that_is_not_known_there_is_of_another_version(place: Place) -> None:
    octets = answer(b"Not Found", "404 Not Found")
    with served(place, octets) as client, pytest.raises(SupervisorError) as caught:
        client.ask("POST", "/dance", StopAnswer)
    assert str(caught.value).endswith("another version")


@pytest.mark.parametrize("is_followed", [False, True])
def test_an_answer_of_another_shape_is_of_another_version(
    place: Place, is_followed: bool
) -> None:
    octets = answer(b'{"process":7}\n')
    steps = msgspec.json.Decoder(StopAnswer)

    def ask(client: Client) -> object:
        if is_followed:
            return list(client.follow("/stop", ScaleOrder(1), steps))
        return client.ask("POST", "/stop", StopAnswer)

    with served(place, octets) as client, pytest.raises(NotAnsweringError) as caught:
        ask(client)
    assert str(caught.value) == (
        f"{place} is served by another version of this program, use that one or "
        "restart the service: its answer is not as expected: Object missing required "
        "field `pid`"
    )


@pytest.mark.parametrize(
    "octets", [b"", b"220 smtp\r\n", answer(b"{"), answer(b"{}")[:-1]]
)
def test_what_is_no_answer_is_said_to_be_none(place: Place, octets: bytes) -> None:
    with served(place, octets) as client, pytest.raises(NotAnsweringError) as caught:
        client.ask("POST", "/stop", StopAnswer)
    assert str(caught.value).startswith(place.text)


def test_a_master_that_is_stopped_is_given_up(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.address)
        listener.listen()
        with pytest.raises(NotAnsweringError, match=r"not answer within 0\.05 s"):
            Client(place, UID, timeout_s=0.05).ask("POST", "/stop", StopAnswer)
    assert ANSWER_TIMEOUT_S == 5.0


LISTEN = """
import os, socket, sys
if os.geteuid() == 0:
    os.setresuid(4242, 4242, 4242)
with socket.socket(socket.AF_UNIX) as sock:
    sock.bind(chr(0) + sys.argv[1])
    sock.listen()
    print("listening", flush=True)
    sys.stdin.read()
"""


@contextmanager
def stranger(place: Place) -> Iterator[None]:
    """Somebody who listens there; another user, if this one is root."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, place.text[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        yield


def test_a_server_of_another_user_is_not_asked(tmp_path: Path) -> None:
    place = Place(f"@blazeio-test/{os.getpid()}/{tmp_path.name}")
    # Who is root lets the server be another's, else is another himself.
    asker = 0 if UID == 0 else UID + 1
    with (
        stranger(place),
        pytest.raises(NotAllowedError, match=r"neither uid .* nor root"),
    ):
        Client(place, asker).ask("POST", "/stop", StopAnswer)


def test_the_only_one_is_found(place: Place) -> None:
    with served(place, describe(7)):
        gone = Place(f"{place}-gone")
        found = find_client(Search([gone, place], ["here", "there"]), UID)
    assert found.place == place


def test_several_are_listed_with_their_pids_and_what_to_write(place: Place) -> None:
    second = Place(f"{place}2")
    found = Search([place, second], ["here", "there"])
    with (
        served(place, describe(7)),
        served(second, describe(8)),
        pytest.raises(UsageError) as caught,
    ):
        find_client(found, UID)
    first_line, *lines = str(caught.value).splitlines()
    assert first_line == "2 services are running, say which by one of:"
    assert lines == [
        f"  --control {place}  pid 7  app:web  http://127.0.0.1:1",
        f"  --control {second}  pid 8  app:web  http://127.0.0.1:1",
    ]


def test_one_that_does_not_answer_is_listed_too(place: Place) -> None:
    second = Place(f"{place}2")
    found = Search([place, second], ["here", "there"])
    with (
        served(place, describe(7)),
        served(second, b"220 smtp\r\n"),
        pytest.raises(UsageError, match="broke off its answer"),
    ):
        find_client(found, UID)


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Place]:
    """A service that this user may not ask, or must not believe."""
    if UID == 0:
        place = Place(f"@blazeio-test/{os.getpid()}/{tmp_path.name}")
        with stranger(place):
            yield place
        return
    place = Place(str(tmp_path / "forbidden.sock"))
    with served(place, describe(8)):
        os.chmod(place.text, 0)
        yield place
        os.chmod(place.text, 0o600)


def test_one_of_another_user_is_not_taken_for_ours(
    place: Place, forbidden: Place
) -> None:
    with served(place, describe(7)):
        found = find_client(Search([forbidden, place], ["here", "there"]), UID)
    assert found.place == place


def test_one_of_another_user_alone_is_named(forbidden: Place) -> None:
    with pytest.raises(NotRunningError) as caught:
        find_client(Search([forbidden], ["here", "there"]), UID)
    assert str(caught.value).endswith(f"who would have to ask: {forbidden}")


def test_none_at_all_says_where_it_was_looked_for() -> None:
    found = Search([], ["/run/a", "@blazeio/7/*"], [Place("@blazeio/8/1")])
    with pytest.raises(NotRunningError) as caught:
        find_client(found, 7)
    assert str(caught.value) == (
        "no service is running: looked at /run/a, @blazeio/7/*; "
        "of other users, who would have to ask: @blazeio/8/1"
    )


def test_a_given_place_is_checked_at_once(place: Place) -> None:
    with pytest.raises(NotRunningError):
        find_client(Search([place], [str(place)]), UID)


def test_the_end_of_another_pid_namespace_is_its_silence(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with served(place, b"") as client, watched_end(client) as end:
        assert end.pidfd is None
        assert client.has_listener()
    end.wait()  # returns, since nobody listens any more
