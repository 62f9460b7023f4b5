import os
import signal
import termios
from collections.abc import Iterator

import pytest

from blazeio_supervisor.cli.top import (
    DOWN,
    ESCAPE,
    UP,
    read_keys,
    watched_keyboard,
)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Our end, and that of the program."""
    own, theirs = os.openpty()
    yield own, theirs
    os.close(own)
    os.close(theirs)


@pytest.mark.parametrize(
    ("octets", "keys"),
    [
        (b"q", ["q"]),
        (b"jj", ["j", "j"]),
        (b"\x1b[A", [UP]),
        (b"\x1bOB", [DOWN]),
        (b"\x1b", [ESCAPE]),
        (b"\x1b[5~", []),
        (b"\xff", []),
    ],
)
def test_keys_are_read_one_by_one(octets: bytes, keys: list[str]) -> None:
    assert read_keys(octets) == keys


def test_a_key_needs_no_return_and_is_not_echoed(terminal: tuple[int, int]) -> None:
    own, theirs = terminal
    with watched_keyboard(theirs) as keyboard:
        os.write(own, b"r")
        assert keyboard.wait(5) == ["r"]
        assert keyboard.wait(0.01) == []
        os.set_blocking(own, False)
        with pytest.raises(BlockingIOError):
            os.read(own, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_terminal_is_as_before_whatever_happens(
    terminal: tuple[int, int], error: type[BaseException]
) -> None:
    before = termios.tcgetattr(terminal[1])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(error), watched_keyboard(terminal[1]):
        raise error
    assert termios.tcgetattr(terminal[1]) == before
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_way_out(terminal: tuple[int, int], number: int) -> None:
    def wait() -> None:
        with watched_keyboard(terminal[1]) as keyboard:
            os.kill(os.getpid(), number)
            keyboard.wait(5)

    with pytest.raises(KeyboardInterrupt):
        wait()


def test_a_window_that_is_resized_ends_the_wait(terminal: tuple[int, int]) -> None:
    with watched_keyboard(terminal[1]) as keyboard:
        os.kill(os.getpid(), signal.SIGWINCH)
        assert keyboard.wait(30) == []
