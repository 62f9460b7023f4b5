"""The verbs ``top`` and ``dashboard`` while they run: one looks again and again, draws,
reads keys and sends orders; the other serves a page that does so in a browser.
"""

import asyncio
import os
import secrets
import select
import signal
import socket
import sys
import termios
import time
import tty
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.live import Live
from rich.text import Text

from blazeio_supervisor.cli.client import ControlClient
from blazeio_supervisor.cli.orders import (
    format_park,
    format_recycle,
    format_reload,
    format_scale,
)
from blazeio_supervisor.cli.output import say
from blazeio_supervisor.cli.queries import format_stacks
from blazeio_supervisor.cli.top_screen import (
    FAINT,
    SORT_KEYS,
    Styled,
    View,
    draw,
    list_slots,
    measure_rates,
)
from blazeio_supervisor.errors import NotRunningError, SupervisorError, UsageError
from blazeio_supervisor.ipc.control_api import (
    DASHBOARD,
    PARK,
    RECYCLE,
    RELOAD,
    RESUME,
    SCALE,
    STACK,
    STATUS,
    AnswerT,
    ControlEndpoint,
    DashboardAnswer,
    DashboardQuery,
    OrderT,
    RecycleOrder,
    ScaleOrder,
    StackAnswer,
    StackOrder,
)
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
)
from blazeio_supervisor.log.formats import escape_answer, escape_line

# The keys of a terminal, one by one; the terminal is as before in the end.
#
# The wait for a key also ends by a signal: the window was resized, or TERM came.


UP, DOWN, ESCAPE = "up", "down", "escape"
_SEQUENCES = {
    b"\x1b[A": UP,
    b"\x1bOA": UP,
    b"\x1b[B": DOWN,
    b"\x1bOB": DOWN,
    b"\x1b": ESCAPE,
}
_MOST_BYTES = 64


def read_keys(octets: bytes) -> list[str]:
    """Read what was typed: characters, or the name of a key."""
    # A terminal writes the sequence of a key at once, so it is read in one piece; ESC
    # alone is the key of that name.
    if octets.startswith(b"\x1b"):
        name = _SEQUENCES.get(octets)
        return [name] if name else []  # another key that sends a sequence
    return list(octets.decode("utf-8", "ignore"))


class Keyboard:
    """The keys of a terminal. Made by ``watched_keyboard``.

    Args:
        fd: The descriptor of the terminal.
        waker: A descriptor that becomes readable when a signal has come.
    """

    def __init__(self, fd: int, waker: int) -> None:
        self._fd = fd
        self._waker = waker

    def wait(self, timeout_s: float) -> list[str]:
        """Wait for keys; there are none when the time is over or a signal has come."""
        ready, _, _ = select.select([self._fd, self._waker], [], [], timeout_s)
        if self._waker in ready:
            os.read(self._waker, _MOST_BYTES)
        if self._fd not in ready:
            return []
        octets = os.read(self._fd, _MOST_BYTES)
        if not octets:
            raise KeyboardInterrupt  # the terminal is gone
        return read_keys(octets)


@contextmanager
def watched_keyboard(fd: int) -> Iterator[Keyboard]:
    """Read keys without an echo, and without waiting for a whole line.

    TERM and HUP raise ``KeyboardInterrupt``, as ^C does, so that the terminal is set
    back; ^Z is ignored.
    """
    before = termios.tcgetattr(fd)
    waker, wake = os.pipe()
    # Python writes the number of each signal there, from within the handler in C
    # (``signal.set_wakeup_fd``): a full pipe must not block that.
    os.set_blocking(wake, False)
    handlers = {
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt),
        signal.SIGHUP: signal.signal(signal.SIGHUP, _interrupt),
        signal.SIGTSTP: signal.signal(signal.SIGTSTP, signal.SIG_IGN),
    }
    # A signal that comes just before ``select`` would be handled, and the wait would
    # begin all the same; through the pipe it ends at once.
    earlier_wake = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        tty.setcbreak(fd)
        yield Keyboard(fd, waker)
    finally:
        # TCSADRAIN: what was printed so far leaves under the old settings first
        # (termios(3)).
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(earlier_wake)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(waker)
        os.close(wake)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


GONE = "the service is gone; waiting for it to come back (q quits)"


class _Order(Struct, frozen=True):
    """What a key orders, once that is confirmed."""

    question: str
    give: Callable[[ControlClient], str]


class TopSession:
    """One run of ``top``.

    Args:
        client: Asks the service.
        interval_s: The time between two looks.
        sort: One of ``SORT_KEYS``: what the lines are sorted by.
    """

    def __init__(
        self, client: ControlClient, interval_s: float, sort: str = SORT_KEYS[0]
    ) -> None:
        self._client = client
        self._interval_s = interval_s
        self._view = View(sort=sort)
        self._pending: _Order | None = None
        self._pages: list[str] = []  # the lines of stacks, which cover the table
        self._page_at = 0
        self._is_over = False
        self._has_fault = False  # the last look failed, and the message says so

    def run(self) -> None:
        """Show until somebody quits; the terminal is as before in the end."""
        console = Console()
        with (
            watched_keyboard(sys.stdin.fileno()) as keyboard,
            # Without the thread by which rich would draw: it could write after the
            # terminal was set back, and a signal that raises would find it half-way.
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            try:
                self._show(console, live, keyboard)
            except KeyboardInterrupt:
                pass  # the way out, like q

    def _show(self, console: Console, live: Live, keyboard: Keyboard) -> None:
        look_at = time.monotonic()
        while not self._is_over:
            if time.monotonic() >= look_at:
                self.look()
                # Counted from the answer on: a service that answers slowly is not asked
                # without a pause.
                look_at = time.monotonic() + self._interval_s
            width, height = console.size
            live.update(paint(self.draw(width, height)), refresh=True)
            for key in keyboard.wait(max(look_at - time.monotonic(), 0.0)):
                self.press(key)

    def look(self) -> None:
        """Look at the service once."""
        try:
            status = self._client.ask(STATUS)
        except NotRunningError:
            self._note_fault(GONE, is_gone=True)
        except SupervisorError as error:
            self._note_fault(str(error), is_gone=False)
        else:
            self._take(escape_answer(status))

    def _note_fault(self, text: str, *, is_gone: bool) -> None:
        self._say(text, is_bad=True)
        self._view = replace(self._view, is_gone=is_gone)
        self._has_fault = True

    def _take(self, status: StatusAnswer) -> None:
        if self._has_fault:
            self._has_fault = False
            self._say("")
        view = self._view
        self._view = replace(
            view,
            status=status,
            rates=measure_rates(view.status, status),
            # The service may have fewer slots than at the last look.
            slot=min(view.slot, len(status.slots) - 1),
            is_gone=False,
        )

    def draw(self, width: int, height: int) -> list[Styled]:
        """Return the lines of the screen."""
        if self._pages:
            page = [
                Styled(line[at : at + width])
                for line in self._pages[self._page_at :]
                for at in range(0, max(len(line), 1), width)
            ]
            foot = Styled("up/down scroll; any other key goes back"[:width], FAINT)
            return [*page[: height - 1], foot]
        return draw(self._view, width, height)

    def press(self, key: str) -> None:
        """Act on a key."""
        if self._pages:
            self._turn_pages(key)
        elif self._pending is not None:
            # Any other key means no, so that one which was hit by mistake orders
            # nothing.
            pending, self._pending = self._pending, None
            if key in ("y", "Y", "\n"):
                self._give(pending)
            else:
                self._say("")
        elif key in ("q", "Q", ESCAPE):
            self._is_over = True
        elif key in (UP, DOWN, "j", "k"):
            self._choose(1 if key in (DOWN, "j") else -1)
        elif key == "s":
            self._dump()
        elif key == "o":
            at = SORT_KEYS.index(self._view.sort) + 1
            self._view = replace(self._view, sort=SORT_KEYS[at % len(SORT_KEYS)])
        else:
            self._ask_first(key)

    def _choose(self, step: int) -> None:
        slots = list_slots(self._view)
        if slots:
            at = slots.index(self._view.slot) if self._view.slot in slots else 0
            slot = slots[min(max(at + step, 0), len(slots) - 1)]
            self._view = replace(self._view, slot=slot)

    def _turn_pages(self, key: str) -> None:
        if key in (UP, DOWN, "j", "k"):
            at = self._page_at + (1 if key in (DOWN, "j") else -1)
            self._page_at = min(max(at, 0), len(self._pages) - 1)
        else:
            self._pages = []

    def _ask_first(self, key: str) -> None:
        order = _find_order(key, self._view.slot)
        if order is not None:
            self._pending = order
            self._say(f"{order.question}? y: yes, any other key: no")

    def _give(self, order: _Order) -> None:
        try:
            self._say(order.give(self._client))
        except SupervisorError as error:
            self._say(str(error), is_bad=True)

    def _dump(self) -> None:
        order = StackOrder(self._view.slot)
        try:
            answer = self._client.ask(STACK, order)
        except SupervisorError as error:
            self._say(str(error), is_bad=True)
        else:
            self._pages, self._page_at = (
                format_stacks(escape_answer(answer)).split("\n"),
                0,
            )

    def _say(self, text: str, *, is_bad: bool = False) -> None:
        line = escape_line(text.replace("\n", "; "))
        self._view = replace(self._view, said=line, is_bad=is_bad)


def _find_order(key: str, slot: int) -> _Order | None:
    def ask(
        endpoint: ControlEndpoint[OrderT, AnswerT],
        write: Callable[[AnswerT], str],
        order: OrderT | None = None,
    ) -> Callable[[ControlClient], str]:
        return lambda client: write(escape_answer(client.ask(endpoint, order)))

    more, less = (
        ask(SCALE, format_scale, ScaleOrder(change=change)) for change in (1, -1)
    )
    orders = {
        "r": _Order("reload the code", ask(RELOAD, format_reload)),
        "+": _Order("one worker more", more),
        "-": _Order("one worker less", less),
        "c": _Order(
            f"replace the worker of slot {slot}",
            ask(RECYCLE, format_recycle, RecycleOrder(slot)),
        ),
        "p": _Order("park: nobody serves, connections wait", ask(PARK, format_park)),
        "w": _Order("serve again", ask(RESUME, format_park)),
    }
    return orders.get("+" if key == "=" else key)


def paint(lines: list[Styled]) -> Text:
    """Return the lines of a screen as rich shows them."""
    painted = Text(no_wrap=True, overflow="crop", end="")
    for at, line in enumerate(lines):
        painted.append("\n" if at else "")
        painted.append(line.text, line.style)
    return painted


# The verb ``dashboard``: it serves the page on this machine.


_PAGE_HOST = "127.0.0.1"
_TOKEN_BYTES = 24


class ClientSource(Struct, frozen=True):
    """A service that is asked by its control socket, each time in a thread."""

    client: ControlClient

    async def look(self, after: int) -> DashboardAnswer:
        """Look at the service."""
        query = DashboardQuery(after)
        return await asyncio.to_thread(self.client.ask, DASHBOARD, query)

    async def stack(self, slot: int) -> StackAnswer:
        """Ask where the workers of a slot are."""
        return await asyncio.to_thread(self.client.ask, STACK, StackOrder(slot))

    async def reload(self) -> None:
        """Load the code anew."""
        await asyncio.to_thread(self.client.ask, RELOAD)

    async def recycle(self, slot: int) -> None:
        """Replace the worker of a slot."""
        await asyncio.to_thread(self.client.ask, RECYCLE, RecycleOrder(slot))


def serve_dashboard(
    client: ControlClient, port: int, opens: Callable[[str], object] | None
) -> None:
    """Serve the page until ^C.

    Whoever has no token cannot even look: other users of this machine can connect to
    the port, too.

    Args:
        client: Asks the service.
        port: Of 127.0.0.1; 0: a free one.
        opens: Opens the address in a browser; None: it is only printed.

    Raises:
        UsageError: The port cannot be bound.
    """
    try:
        # It sets SO_REUSEADDR: the port of a page that was just closed can be had again
        # at once, in spite of connections in TIME_WAIT (socket(7)).
        listener = socket.create_server((_PAGE_HOST, port))
    except OSError as error:
        raise UsageError(f"cannot bind {_PAGE_HOST}:{port}: {error.strerror}") from None
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    # Behind ``#``: a browser sends no fragment to a server (RFC 9110, section 4.2.5),
    # so the token comes into no log and into no Referer.
    address = f"http://{_PAGE_HOST}:{listener.getsockname()[1]}/dashboard#{token}"
    say(f"{address}\nThis page shows the service, and takes orders, until ^C.")
    if opens is not None:
        opens(address)
    with listener:
        listener.setblocking(False)
        asyncio.run(_serve(client, token, listener))


async def _serve(client: ControlClient, token: str, listener: socket.socket) -> None:
    # The framework, which serves the page, takes longer to load than ``top`` may.
    from blazeio.app.app import App
    from blazeio_supervisor.master.dashboard import Dashboard

    app = App()
    Dashboard(ClientSource(client), token, is_private=True).add_routes(app)
    loop = asyncio.get_running_loop()
    is_over = asyncio.Event()
    # SIGHUP, too: whoever closes the terminal means to end the page.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, is_over.set)
    server = app.make_server(loop)
    server.accept_from(listener)
    await is_over.wait()
    # Without a drain: what is in flight is a look at the service, which the page
    # repeats anyway.
    server.close()


def open_browser(address: str) -> None:
    """Open the address in the user's browser, if there is one."""
    webbrowser.open(address)
