import threading

from blazeio.client.context import receive_view


def test_a_thread_has_one_receive_buffer() -> None:
    views = [receive_view()]
    thread = threading.Thread(target=lambda: views.append(receive_view()))
    thread.start()
    thread.join()
    assert receive_view() is views[0]
    assert views[1] is not views[0]
