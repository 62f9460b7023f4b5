"""A service that is to be run: what the command line hands to the master.

Apart from both: the master does not know the command line, which is forgotten by then,
and the command line does not import the master.
"""

from msgspec import Struct

from blazeio_supervisor.config.settings import LiveSettings
from blazeio_supervisor.worker.starting import EarlyForkserver


class Service(Struct, frozen=True):
    """A service.

    Attributes:
        live_settings: What the operator asked for.
        guessed: The interpreter of the first forkserver, if it was started already.
    """

    live_settings: LiveSettings
    guessed: EarlyForkserver | None

    def run(self) -> int:
        """Serve until the end; return the exit code.

        Raises:
            SupervisorError: It could not be started.
        """
        from blazeio_supervisor.master.start import run_service

        return run_service(self.live_settings, self.guessed)
