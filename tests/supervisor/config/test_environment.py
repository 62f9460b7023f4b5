import pytest

from blazeio_supervisor.config.environment import (
    GivenFd,
    ServiceManager,
    parse_manager,
    read_manager,
)

PID = 4711


def read(**variables: str) -> ServiceManager:
    return read_manager({"NOTIFY_SOCKET": "/run/notify", **variables}, PID)


def test_without_a_manager_there_is_nothing() -> None:
    assert read_manager({}, PID) == ServiceManager()


def test_everything_it_says_is_read() -> None:
    assert read(
        WATCHDOG_USEC="30000000",
        WATCHDOG_PID=str(PID),
        FDSTORE="64",
        LISTEN_PID=str(PID),
        LISTEN_FDS="2",
        LISTEN_FDNAMES="http:blazeio_tcp",
    ) == ServiceManager(
        address="/run/notify",
        watchdog_s=30.0,
        store_count=64,
        given=(GivenFd(3, "http"), GivenFd(4, "blazeio_tcp")),
    )


def test_what_is_said_to_another_process_does_not_count() -> None:
    other = read(WATCHDOG_USEC="1", WATCHDOG_PID="1", LISTEN_PID="1", LISTEN_FDS="1")
    assert other == ServiceManager(address="/run/notify")


def test_names_may_be_missing() -> None:
    given = read(LISTEN_PID=str(PID), LISTEN_FDS="2").given
    assert given == (GivenFd(3), GivenFd(4))


@pytest.mark.parametrize("nonsense", ["", "-1", "many", "0"])
def test_nonsense_is_nothing(nonsense: str) -> None:
    said = read(WATCHDOG_USEC=nonsense, FDSTORE=nonsense, LISTEN_FDS=nonsense)
    assert said == ServiceManager(address="/run/notify")


def test_without_an_address_nobody_can_be_told_of_life() -> None:
    said = read_manager({"WATCHDOG_USEC": "1000", "FDSTORE": "9"}, PID)
    assert said == ServiceManager()


def test_paths_and_abstract_names_are_spoken_to_and_nothing_else() -> None:
    assert parse_manager("/run/systemd/notify") == "/run/systemd/notify"
    assert parse_manager("@/org/systemd") == "\0/org/systemd"
    for unknown in ("", "@", "vsock:2:1234", "relative"):
        assert parse_manager(unknown) is None
