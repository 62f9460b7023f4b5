"""Steers the groups of the service by the weights of its slots.

The kernel's index of a socket is its slot's here: slots are opened in order, and
none is ever closed while we run; of those that we did not open, the order is
found (``filters/order.py``).
"""

from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.sockets.filters.draw import draw_evenly, steer
from blazeio_supervisor.sockets.listeners import Listeners


class Steerer:
    """Steers every group of the service, as long as the kernel takes it.

    Args:
        listeners: Whose groups.

    Attributes:
        is_active: The kernel has taken the last weights.
    """

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._is_refused = False
        self._weights: tuple[int, ...] = ()
        self.is_active = False

    def freeze(self) -> tuple[bool, bool]:
        """Say whether the kernel steers, and whether it has refused to."""
        return self.is_active, self._is_refused

    def thaw(self, frozen: tuple[bool, bool]) -> None:
        """Go on from there; the program itself is in the kernel."""
        self.is_active, self._is_refused = frozen

    def apply(self, weights: tuple[int, ...]) -> None:
        """Steer by these weights; a kernel that refuses is not asked again."""
        self._weights = weights
        groups = [
            group
            for group in self._listeners.groups
            if group.is_ordered and len(group.sockets) > 1
        ]
        if self._is_refused or len(weights) < 2 or not groups:
            return
        try:
            for group in groups:
                shares = fold(weights, len(group.sockets))
                by_number = [shares[place] for place in group.list_ranks()]
                steer(group.sockets, by_number)
            self.is_active = True
        except OSError as error:
            self._is_refused = True
            self.is_active = False
            text = f"the kernel shares out connections evenly: {error.strerror}"
            note("not_steered", text)

    def apply_again(self) -> None:
        """Steer as before, after the kernel numbers some sockets anew."""
        for group in self._listeners.groups:
            if not group.is_ordered:
                draw_evenly(group.sockets[0])
        self.apply(self._weights)


def fold(weights: tuple[int, ...], count: int) -> list[int]:
    """Give each of so many sockets the weights of all slots that share it."""
    return [sum(weights[at::count]) for at in range(count)]
