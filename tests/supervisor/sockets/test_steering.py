import pytest

from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import Steerer, draw_evenly, fold
from tests.supervisor.copies import copy
from tests.supervisor.sockets.test_reuseport_weights import count_connections


def test_a_steerer_is_active_once_the_kernel_has_taken_weights() -> None:
    listeners = Listeners(2)
    steerer = Steerer()
    steerer.apply(listeners, (1, 0))  # nothing to steer yet
    assert not steerer.is_active
    listeners.open(TcpAddress("127.0.0.1", 0))
    steerer.apply(listeners, (1, 0))
    assert steerer.is_active
    assert count_connections(listeners.groups[0].sockets, 20) == [20, 0]
    listeners.shut()


def test_what_cannot_be_steered_is_left_to_the_kernel() -> None:
    listeners = Listeners(2)
    listeners.open(TcpAddress("127.0.0.1", 0))
    (group,) = listeners.groups
    steerer = Steerer()
    steerer.apply(listeners, (1,))
    group.is_ordered = False
    steerer.apply(listeners, (1, 0))
    steerer.is_refused, group.is_ordered = True, True
    steerer.apply(listeners, (1, 0))
    listeners.shut()
    alone = Listeners(1)
    alone.open(TcpAddress("127.0.0.1", 0))
    last = Steerer()
    last.apply(alone, (1, 0))
    alone.shut()
    assert not steerer.is_active
    assert last == Steerer(weights=(1, 0))


def test_a_kernel_that_refuses_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    listeners = Listeners(2)
    listeners.open(TcpAddress("127.0.0.1", 0))
    steerer = Steerer(is_active=True)
    listeners.groups[0].sockets[0].close()
    with caplog.at_level("INFO", "blazeio"):
        steerer.apply(listeners, (1, 0))
        steerer.apply(listeners, (1, 0))
    assert (steerer.is_active, steerer.is_refused) == (False, True)
    said = "event=not_steered the kernel shares out connections evenly: Bad file"
    assert caplog.text.count(said) == 1
    listeners.groups[0].sockets[1].close()


def test_once_nobody_knows_the_order_the_kernel_draws() -> None:
    listeners = Listeners(2)
    listeners.open(TcpAddress("127.0.0.1", 0))
    steerer = Steerer()
    steerer.apply(listeners, (1, 0))
    listeners.groups[0].is_ordered = False
    steerer.apply_again(listeners)
    assert min(count_connections(listeners.groups[0].sockets, 100)) > 0
    listeners.shut()


def test_slots_that_share_a_socket_share_its_weight() -> None:
    assert fold((1, 2, 3, 4, 5), 2) == [1 + 3 + 5, 2 + 4]
    assert fold((1, 2), 2) == [1, 2]


def test_the_next_image_can_steer_by_the_last_weights() -> None:
    listeners = Listeners(2)
    listeners.open(TcpAddress("127.0.0.1", 0))
    steerer = Steerer()
    steerer.apply(listeners, (1, 0))
    later = copy(steerer)
    assert later == steerer
    draw_evenly(listeners.groups[0].sockets)
    later.apply_again(listeners)
    assert count_connections(listeners.groups[0].sockets, 20) == [20, 0]
    listeners.shut()
