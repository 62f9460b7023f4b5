import asyncio
import fcntl
import os
import socket
import threading

import pytest

from blazeio_supervisor.ipc.channel import LoopChannel, Received, receive, send
from blazeio_supervisor.ipc.messages import Admit, Failed, Message, Ready, Release
from blazeio_supervisor.ipc.packing import MessageError
from blazeio_supervisor.ipc.signals import make_pair
from tests.support.clock import wait_until


def test_a_message_arrives_with_its_descriptors() -> None:
    own, theirs = make_pair()
    reader, writer = os.pipe()
    with own, theirs:
        send(own, Release(3), [writer])
        received = receive(theirs)
        assert received is not None
        message, (fd,) = received
        os.write(fd, b"x")
        assert message == Release(3)
        assert os.read(reader, 1) == b"x"
        for each in (reader, writer, fd):
            os.close(each)


def test_a_received_descriptor_is_closed_by_an_exec() -> None:
    own, theirs = make_pair()
    with own, theirs:
        send(own, Ready(), [own.fileno()])
        received = receive(theirs)
        assert received is not None
        assert not os.get_inheritable(received[1][0])
        os.close(received[1][0])


def test_the_death_of_the_peer_is_the_end_of_file() -> None:
    own, theirs = make_pair()
    with own:
        theirs.close()
        assert receive(own) is None


def test_a_peer_that_died_with_unread_messages_is_the_end_of_file_too() -> None:
    own, theirs = make_pair()
    with own:
        send(own, Ready())
        theirs.close()
        assert receive(own) is None


def test_its_last_words_are_heard_though_it_read_nothing() -> None:
    own, theirs = make_pair()
    last = Failed(3, "no database")
    with own:
        send(own, Ready())
        send(theirs, last)
        theirs.close()
        assert receive(own) == (last, [])
        assert receive(own) is None


def test_octets_of_somebody_else_are_refused_and_their_descriptors_closed() -> None:
    own, theirs = make_pair()
    count = len(os.listdir("/proc/self/fd"))
    with own, theirs:
        socket.send_fds(own, [b"hello"], [own.fileno()])
        with pytest.raises(MessageError):
            receive(theirs)
        assert len(os.listdir("/proc/self/fd")) == count


class LoopChannelHarness:
    """A LoopChannel whose messages are kept."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[Received] = []
        self.ends = 0
        loop = asyncio.get_running_loop()
        self.channel = LoopChannel(sock, loop, self._on_message, self._end)

    def _on_message(self, message: Message, fds: list[int]) -> None:
        self.heard.append((message, fds))

    def _end(self) -> None:
        self.ends += 1


async def test_the_loop_hears_every_message_in_order_then_one_end() -> None:
    own, theirs = make_pair()
    listening = LoopChannelHarness(own)
    with theirs:
        send(theirs, Ready())
        send(theirs, Release(1))
    await wait_until(lambda: listening.ends)
    assert [message for message, _ in listening.heard] == [Ready(), Release(1)]
    assert listening.ends == 1
    assert not listening.channel.is_open


async def test_what_a_peer_does_not_read_waits_and_keeps_its_order() -> None:
    own, theirs = make_pair()
    listening = LoopChannelHarness(own)
    reader, writer = socket.socketpair()
    wanted = [Failed(3, "x" * 10_000 + str(number)) for number in range(200)]
    for message in wanted:
        listening.channel.send(message)
    listening.channel.send(Admit(), [writer])
    writer.close()  # the waiting message keeps its own
    theirs.setblocking(False)
    read: list[Received] = []

    def read_all() -> bool:
        try:
            while (received := receive(theirs)) is not None:
                read.append(received)
        except BlockingIOError:
            pass
        return len(read) == 201

    await wait_until(read_all)
    assert [message for message, _ in read[:-1]] == wanted
    os.write(read[-1][1][0], b"x")
    assert reader.recv(1) == b"x"
    os.close(read[-1][1][0])
    reader.close()
    listening.channel.close()
    theirs.close()


async def test_a_closed_channel_gives_back_what_still_waits() -> None:
    own, theirs = make_pair()
    listening = LoopChannelHarness(own)
    count = len(os.listdir("/proc/self/fd"))
    for _ in range(500):
        listening.channel.send(Failed(3, "x" * 10_000), [theirs])
    listening.channel.close()
    assert len(os.listdir("/proc/self/fd")) == count - 1
    theirs.close()


async def test_to_a_dead_peer_nothing_is_sent_and_nothing_raised() -> None:
    own, theirs = make_pair()
    listening = LoopChannelHarness(own)
    theirs.close()
    listening.channel.send(Ready())
    await wait_until(lambda: listening.ends)
    listening.channel.send(Ready())


async def test_it_is_settled_once_nothing_waits_to_be_sent() -> None:
    own, theirs = make_pair()
    listening = LoopChannelHarness(own)
    assert listening.channel.is_settled
    assert listening.channel.fileno() == own.fileno()
    for _ in range(500):
        listening.channel.send(Failed(3, "x" * 10_000))
    assert not listening.channel.is_settled
    theirs.close()
    listening.channel.close()
    assert not listening.channel.is_settled


def test_a_blocking_end_stays_so_whatever_another_process_sets() -> None:
    own, theirs = make_pair()
    with own, theirs:
        fcntl.fcntl(theirs, fcntl.F_SETFL, os.O_NONBLOCK)
        threading.Timer(0.05, send, (own, Ready())).start()
        assert receive(theirs) == (Ready(), [])
        fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK)
        long = Failed(3, "x" * 10_000)
        reading = threading.Thread(target=lambda: [receive(theirs) for _ in range(99)])
        threading.Timer(0.05, reading.start).start()
        for _ in range(99):
            send(own, long)
        reading.join()
