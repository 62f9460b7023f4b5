"""The line that says what is served where: when all of it is known.

The addresses are bound before the App is there, and whether it speaks TLS only
the App can say, unless the operator did. A reload may change that.
"""

import os

from blazeio_supervisor.fleet.telling.words import count_of
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.settings import Settings
from blazeio_supervisor.sockets.listeners import Listeners

_FIRST = 1
_SCHEMES = {False: "http", True: "https"}


class Banner:
    """Waits for both facts, then prints.

    Args:
        settings: What the operator asked for.
        listeners: Learn their scheme here.
    """

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self._settings = settings
        self._listeners = listeners
        self._is_bound = False
        self._is_scheme_known = False
        self._spoken: dict[int, bool] = {}
        if settings.overrides.tls is not None:
            self.note_scheme(_FIRST, is_tls=True)

    def note_taken_over(self) -> None:
        """Another image of the master has printed it."""
        self._is_bound = self._is_scheme_known = True

    def note_bound(self) -> None:
        """Every address is open."""
        self._is_bound = True
        if not self._is_scheme_known:
            count = len(self._listeners.addresses)
            where = "1 address is" if count == 1 else f"{count} addresses are"
            note("bound", f"{where} open; connections wait for the app to start")
        self._print()

    def note_scheme(self, generation: int, *, is_tls: bool) -> None:
        """Somebody of a generation, or the operator, says what it speaks.

        At the start the first word counts. Of a later generation it is the last
        one, when that serves: its workers know more than its forkserver.
        """
        self._spoken[generation] = is_tls
        if not self._is_scheme_known:
            self._is_scheme_known = True
            self._listeners.scheme = _SCHEMES[is_tls]
            self._print()

    def take(self, generation: int, settings: Settings) -> None:
        """This generation, with these settings, serves in every slot by now."""
        self._settings = settings
        is_tls = self._spoken.get(generation)
        self._spoken.clear()
        if is_tls is not None and self._listeners.scheme != _SCHEMES[is_tls]:
            self._listeners.scheme = _SCHEMES[is_tls]
            self._print()

    def _print(self) -> None:
        if not (self._is_bound and self._is_scheme_known):
            return
        settings = self._settings
        where = " ".join(self._listeners.addresses)
        note(
            "listening",
            f"{settings.app.text} on {where}: {count_of(settings.workers, 'worker')}, "
            f"{self._listeners.mode}, {settings.loop}, pid {os.getpid()}",
        )
