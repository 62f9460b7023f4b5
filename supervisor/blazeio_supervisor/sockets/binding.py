"""Opening the addresses of the service, at once or when the app says its own."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.sockets.address import Address, TcpAddress, UnixAddress
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.opening import AddressInUseError, identify_path

RETRY_FOR_S = 2.0  # a predecessor that is just ending has let go by then
_RETRY_EVERY_S = 0.05


class Binding:
    """Opens addresses; whoever needs one is called back when it is open.

    Args:
        listeners: Where they are opened.
        on_bound: Called once, when everything is open.
        on_failure: Called when something cannot be opened.
    """

    def __init__(
        self,
        listeners: Listeners,
        on_bound: Callable[[], None],
        on_failure: Callable[[BindError], None],
    ) -> None:
        self._listeners = listeners
        self._on_bound = on_bound
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[], None]] = []
        self._own: TcpAddress | None = None
        self._is_open = False

    def begin(
        self, addresses: Sequence[Address], then: Callable[[], None] | None = None
    ) -> None:
        """Open what the operator asked for; then go on."""
        if then is not None:
            self._waiting.append(then)
        self._task = asyncio.get_running_loop().create_task(self._open(addresses))

    def need(self, host: str, port: int, then: Callable[[], None]) -> None:
        """Open the app's own address unless the operator gave one; then go on."""
        own = TcpAddress(host, port)
        if self._task is None and not self._is_open:
            self._own = own
            self.begin([own])
        elif self._own not in (None, own):
            served = " ".join(self._listeners.addresses)
            text = f"the app now says {own}, and is served at {served} until a restart"
            note("address_kept", text, "WARNING")
        if self._is_open:
            then()
        else:
            self._waiting.append(then)

    @property
    def own(self) -> TcpAddress | None:
        """The app's own address, when that is what is open."""
        return self._own

    def thaw(self, own: TcpAddress | None) -> None:
        """Go on where everything has been open for long."""
        self._own, self._is_open = own, True

    def cancel(self) -> None:
        """Wait no longer for an address to become free."""
        if self._task is not None:
            self._task.cancel()

    async def _open(self, addresses: Sequence[Address]) -> None:
        try:
            for address in addresses:
                await self._open_one(address)
        except BindError as error:
            self._on_failure(error)
            return
        self._is_open = True
        self._on_bound()
        for then in self._waiting:
            then()
        self._waiting.clear()

    async def _open_one(self, address: Address) -> None:
        give_up_at = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                self._listeners.open(address)
            except AddressInUseError as error:
                await _change(address, error, give_up_at)
                if time.monotonic() >= give_up_at:
                    raise
            else:
                return


async def _change(address: Address, error: AddressInUseError, until: float) -> None:
    """Return when it is worth another try, or so late.

    A port is tried by binding it, which nobody notices. Who listens at a path is
    asked by connecting, which a service that is not ours would notice each time:
    it is asked again when the path is another one, or its process is gone.
    """
    before = _look_at(address, error)
    while True:
        await asyncio.sleep(_RETRY_EVERY_S)
        if before is None or time.monotonic() >= until:
            return
        if _look_at(address, error) != before:
            return


def _look_at(
    address: Address, error: AddressInUseError
) -> tuple[tuple[int, int] | None, bool] | None:
    """What is at a path, and whether who listened there lives; None for a port."""
    if not isinstance(address, UnixAddress):
        return None
    return identify_path(address.path), os.path.exists(f"/proc/{error.pid}")
