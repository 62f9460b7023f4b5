"""The line that says what is served where; once, when all of it is known.

The addresses are bound before the App is there, and whether it speaks TLS only
the App can say, unless the operator did.
"""

import os

from blazeio_supervisor.fleet.telling.words import count_of
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.settings import Settings
from blazeio_supervisor.sockets.listeners import Listeners


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
        if settings.overrides.tls is not None:
            self.note_scheme(is_tls=True)

    def note_taken_over(self) -> None:
        """Another image of the master has printed it."""
        self._is_scheme_known = True

    def note_bound(self) -> None:
        """Every address is open."""
        self._is_bound = True
        if not self._is_scheme_known:
            count = len(self._listeners.addresses)
            where = "1 address is" if count == 1 else f"{count} addresses are"
            note("bound", f"{where} open; connections wait for the app to start")
        self._print()

    def note_scheme(self, *, is_tls: bool) -> None:
        """The App, or the operator, says what is spoken; the first word counts."""
        if not self._is_scheme_known:
            self._is_scheme_known = True
            self._listeners.scheme = "https" if is_tls else "http"
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
