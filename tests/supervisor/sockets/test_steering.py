from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners, Steerer, fold
from blazeio_supervisor.sockets.reuseport import draw_evenly
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
    draw_evenly(listeners.groups[0].sockets[0])
    later.apply_again(listeners)
    assert count_connections(listeners.groups[0].sockets, 20) == [20, 0]
    listeners.shut()
