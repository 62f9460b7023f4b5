import pytest

from blazeio.errors import (
    Abort,
    BlazeioError,
    ClientDisconnected,
    ConfigurationError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)


@pytest.mark.parametrize(
    "kind",
    [ClientDisconnected, ConfigurationError, LocalProtocolError, RemoteProtocolError],
)
def test_one_root_catches_every_error(kind: type[Exception]) -> None:
    assert issubclass(kind, BlazeioError)


def test_the_peers_fault_is_answered_with_its_status_hint() -> None:
    error = RemoteProtocolError("head of 70000 octets", 431)
    assert (str(error), error.status_hint) == ("head of 70000 octets", 431)
    assert RemoteProtocolError("bare LF").status_hint == 400


def test_our_own_fault_is_a_500() -> None:
    error = LocalProtocolError("a field name with a space")
    assert isinstance(error, ProtocolError)
    assert error.status_hint == 500


def test_an_abort_is_control_flow_and_no_error_of_ours() -> None:
    assert not issubclass(Abort, BlazeioError)


def test_an_abort_carries_the_answer() -> None:
    abort = Abort("Whom?", 400, {"X-Reason": "name"})
    assert (abort.message, abort.status) == ("Whom?", 400)
    assert abort.headers == {"X-Reason": "name"}


def test_an_abort_without_arguments_is_a_403() -> None:
    abort = Abort()
    assert (abort.message, abort.status) == ("Something went wrong", 403)
