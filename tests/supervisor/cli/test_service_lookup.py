"""Against small servers of the test; against real ones: tests/process."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.cli.client import find_client
from blazeio_supervisor.errors import NotRunningError, UsageError
from blazeio_supervisor.ipc.control_api import (
    ServiceAnswer,
)
from blazeio_supervisor.ipc.socket_paths import Search, SocketPath
from tests.supervisor.cli.small_servers import (
    UID,
    answer,
    describe,
    served,
    stranger,
)


def test_the_only_one_is_found(place: SocketPath) -> None:
    with served(place, describe(7)):
        gone = SocketPath(f"{place}-gone")
        found = find_client(Search([gone, place], ["here", "there"]), UID)
    assert found.place == place


def test_several_of_one_name_are_told_apart_by_pid(place: SocketPath) -> None:
    second = SocketPath(f"{place}2")
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
        "  --instance 7  pid 7  app:web  http://127.0.0.1:1",
        "  --instance 8  pid 8  app:web  http://127.0.0.1:1",
    ]


def test_one_that_does_not_answer_is_listed_too(place: SocketPath) -> None:
    second = SocketPath(f"{place}2")
    found = Search([place, second], ["here", "there"])
    with (
        served(place, describe(7)),
        served(second, b"220 smtp\r\n"),
        pytest.raises(UsageError, match="broke off its answer"),
    ):
        find_client(found, UID)


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[SocketPath]:
    """A service that this user may not ask, or must not believe."""
    if UID == 0:
        place = SocketPath(f"@blazeio-test/{os.getpid()}/{tmp_path.name}")
        with stranger(place):
            yield place
        return
    place = SocketPath(str(tmp_path / "forbidden.sock"))
    with served(place, describe(8)):
        os.chmod(place.text, 0)
        yield place
        os.chmod(place.text, 0o600)


def test_one_of_another_user_is_not_taken_for_ours(
    place: SocketPath, forbidden: SocketPath
) -> None:
    with served(place, describe(7)):
        found = find_client(Search([forbidden, place], ["here", "there"]), UID)
    assert found.place == place


def test_one_of_another_user_alone_is_named(forbidden: SocketPath) -> None:
    with pytest.raises(NotRunningError) as caught:
        find_client(Search([forbidden], ["here", "there"]), UID)
    assert str(caught.value).endswith(f"who would have to ask: {forbidden}")


def test_none_at_all_says_where_it_was_looked_for() -> None:
    found = Search([], ["/run/a", "@blazeio/7/*"], [SocketPath("@blazeio/8/1")])
    with pytest.raises(NotRunningError) as caught:
        find_client(found, 7)
    assert str(caught.value) == (
        "no service is running: looked at /run/a, @blazeio/7/*; "
        "of other users, who would have to ask: @blazeio/8/1"
    )


def test_a_given_place_is_checked_at_once(place: SocketPath) -> None:
    with pytest.raises(NotRunningError):
        find_client(Search([place], [str(place)]), UID)


def test_several_are_listed_by_name(place: SocketPath) -> None:
    second = SocketPath(f"{place}2")
    found = Search([place, second], ["here", "there"])
    with (
        served(place, describe(7, "shop")),
        served(second, describe(8, "web")),
        pytest.raises(
            UsageError, match=r"--instance shop  pid 7 .*\n  --instance web   pid 8"
        ),
    ):
        find_client(found, UID)


@pytest.mark.parametrize("word", ["web", "8"])
def test_one_of_several_is_found_by_name_or_pid(place: SocketPath, word: str) -> None:
    second = SocketPath(f"{place}2")
    with served(place, describe(7, "shop")), served(second, describe(8, "web")):
        client = find_client(Search([place, second], ["here"]), UID, word)
    assert client.place == second


def test_a_name_that_none_has_is_answered_by_those_there_are(place: SocketPath) -> None:
    with served(place, describe(7)), pytest.raises(NotRunningError) as caught:
        find_client(Search([place], ["here"]), UID, "shop")
    assert str(caught.value) == "no service is called 'shop': there are app:web (pid 7)"


def test_a_name_where_nothing_runs_is_answered_so() -> None:
    with pytest.raises(NotRunningError, match="there is none at all"):
        find_client(Search([], ["here"]), UID, "shop")


def describe_elsewhere(name: str = "app:web", **home: str) -> bytes:
    """What a service of another container says of itself."""
    service = ServiceAnswer(pid=1, name=name, app="app:web", addresses=[])
    return answer(msgspec.json.encode(msgspec.structs.replace(service, **home)))


@pytest.mark.parametrize("home", [{"pid_namespace": "pid:[1]"}, {"root": "1:1"}])
def test_that_of_another_container_is_not_meant(
    place: SocketPath, home: dict[str, str]
) -> None:
    second = SocketPath(f"{place}2")
    found = Search([place, second], ["here", "there"])
    with served(place, describe_elsewhere(**home)):
        with served(second, describe(8)):
            assert find_client(found, UID).place == second
            assert find_client(found, UID, "app:web").place == second
            assert find_client(found, UID, str(os.getpid())).place == place
        # Alone it is not meant either, and its name does not say so.
        with pytest.raises(UsageError) as caught:
            find_client(found, UID)
        with pytest.raises(NotRunningError) as missing:
            find_client(found, UID, "app:web")
    assert caught.value.message == (
        "1 service is running in other containers, say which by one of:"
    )
    assert caught.value.details == [
        f"  --instance {os.getpid()}  pid {os.getpid()}  app:web  not bound yet, "
        "of another container"
    ]
    assert f"app:web (pid {os.getpid()}, of another container)" in str(missing.value)


def test_a_name_is_also_that_which_its_container_knows(place: SocketPath) -> None:
    second = SocketPath(f"{place}2")
    known = ServiceAnswer(pid=8, name="b", app="a", addresses=[], alias="shop")
    octets = answer(msgspec.json.encode(known))
    with served(place, describe(7, "other")), served(second, octets):
        found = Search([place, second], ["here", "there"])
        assert find_client(found, UID, "shop").place == second
    os.unlink(place.text)
    os.unlink(second.text)
    with served(place, describe(7, "shop")), served(second, octets):
        assert find_client(found, UID, "shop").place == place


def test_many_names_of_others_are_not_all_listed() -> None:
    others = [SocketPath(f"@blazeio/8/{number}") for number in range(99)]
    with pytest.raises(NotRunningError) as caught:
        find_client(Search([], ["a", "b"], others), 7)
    assert str(caught.value).endswith("@blazeio/8/4 and 94 more")
