"""The line that says what is served where; once, when all of it is known.

The addresses are bound before the App is there, and whether it speaks TLS only
the App can say, unless the operator did.
"""

import logging
import os

from blazeio_supervisor.settings import Settings
from blazeio_supervisor.sockets.listeners import Listeners

log = logging.getLogger("blazeio.master")


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

    def note_bound(self) -> None:
        """Every address is open."""
        self._is_bound = True
        if not self._is_scheme_known:
            count = len(self._listeners.addresses)
            log.info("event=bound %d address(es); waiting for the app", count)
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
        log.info(
            "event=listening %s on %s: %d worker(s), generation 1, %s, %s, pid %d",
            settings.app.text,
            " ".join(self._listeners.addresses),
            settings.workers,
            self._listeners.mode,
            settings.loop,
            os.getpid(),
        )
