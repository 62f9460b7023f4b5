"""Against small servers of the test; against real ones: tests/process."""

import errno
import os
import socket
from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.cli.client import ControlClient, write_query
from blazeio_supervisor.errors import (
    BrokenOffError,
    ExitCode,
    NotAllowedError,
    NotAnsweringError,
    NotRunningError,
    SupervisorError,
    UsageError,
)
from blazeio_supervisor.ipc.control_api import (
    ANSWER_TIMEOUT_S,
    SCALE,
    STOP,
    ControlEndpoint,
    EventsQuery,
    Nothing,
    ScaleOrder,
    StopAnswer,
    StopOrder,
)
from blazeio_supervisor.ipc.socket_paths import SocketPath
from tests.supervisor.cli.small_servers import (
    UID,
    answer,
    answered,
    served,
    stranger,
)

LAST = ControlEndpoint("GET", "/last", Nothing, StopAnswer)


def test_an_answer_is_read_as_what_it_should_be(place: SocketPath) -> None:
    with served(place, answer(b'{"pid":7}')) as client:
        assert client.ask(STOP) == StopAnswer(7)


@pytest.mark.parametrize("is_left", [True, False], ids=["killed", "never"])
def test_nobody_there_has_an_exit_code_of_its_own(
    place: SocketPath, is_left: bool
) -> None:
    if is_left:
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(place.address)
    with pytest.raises(NotRunningError, match=place.text) as caught:
        ControlClient(place, UID).ask(STOP)
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
    place: SocketPath, status: str, kind: type[SupervisorError]
) -> None:
    octets = answer(b'{"error":"not now"}', status)
    with served(place, octets) as client, pytest.raises(kind) as caught:
        client.ask(SCALE, ScaleOrder(1))
    assert str(caught.value) == "not now"
    assert type(caught.value) is kind


def test_a_verb_that_is_not_known_there_is_of_another_version(
    place: SocketPath,
) -> None:
    octets = answer(b"Not Found", "404 Not Found")
    with served(place, octets) as client, pytest.raises(SupervisorError) as caught:
        client.ask(ControlEndpoint("POST", "/dance", Nothing, StopAnswer))
    assert str(caught.value).endswith("another version")


@pytest.mark.parametrize("is_followed", [False, True])
def test_an_answer_of_another_shape_is_of_another_version(
    place: SocketPath, is_followed: bool
) -> None:
    octets = answer(b'{"process":7}\n')
    steps = msgspec.json.Decoder(StopAnswer)

    def ask(client: ControlClient) -> object:
        if is_followed:
            return list(client.follow(STOP, StopOrder(), steps))
        return client.ask(STOP)

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
def test_what_is_no_answer_is_said_to_be_none(place: SocketPath, octets: bytes) -> None:
    with served(place, octets) as client, pytest.raises(NotAnsweringError) as caught:
        client.ask(STOP)
    assert str(caught.value).startswith(place.text)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_question_that_an_upgrade_has_cut_is_asked_again_and_no_order(
    place: SocketPath, method: str
) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
    octets = iter([cut, answer(b'{"pid":7}')])
    with answered(place, lambda target: next(octets)) as client:
        if method == "GET":
            assert client.ask(LAST).pid == 7
            return
        with pytest.raises(BrokenOffError, match="broke off its answer"):
            client.ask(STOP)


def test_a_master_that_is_stopped_is_given_up(place: SocketPath) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.address)
        listener.listen()
        with pytest.raises(NotAnsweringError, match=r"not answer within 0\.05 s"):
            ControlClient(place, UID, timeout_s=0.05).ask(STOP)
    assert ANSWER_TIMEOUT_S == 5.0


def test_a_server_of_another_user_is_not_asked(tmp_path: Path) -> None:
    place = SocketPath(f"@blazeio-test/{os.getpid()}/{tmp_path.name}")
    # Who is root lets the server be another's, else is another himself.
    asker = 0 if UID == 0 else UID + 1
    with (
        stranger(place),
        pytest.raises(NotAllowedError, match=r"neither uid .* nor root"),
    ):
        ControlClient(place, asker).ask(STOP)


def test_the_end_of_another_pid_namespace_is_its_silence(
    place: SocketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with served(place, b"") as client, client.watch_end() as end:
        assert end.pidfd is None
        assert client.has_listener()
    end.wait()  # returns, since nobody listens any more


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (EventsQuery(), ""),
        (EventsQuery(after=4, follow=True), "?after=4&follow=true"),
        (EventsQuery(last=0), "?last=0"),
    ],
)
def test_a_question_is_a_query_of_what_differs_from_the_defaults(
    query: EventsQuery, text: str
) -> None:
    assert write_query(query) == text
