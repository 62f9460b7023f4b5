"""How an app of another interface is served: ASGI, WSGI."""

from dataclasses import dataclass
from typing import get_args

from blazeio_supervisor.config.option import Section, option
from blazeio_supervisor.config.types import Choice, Count, Flag
from blazeio_supervisor.ipc.messages import GatewayConfig, InterfaceName, LifespanName

THREAD_LIMIT = 1000


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Gateways(Section):
    """What an ASGI or WSGI app is served with; without effect on an App."""

    title = "ASGI and WSGI apps"

    interface: InterfaceName = option(
        Choice(get_args(InterfaceName), "NAME"),
        "What APP is: blazeio (an App), asgi (ASGI 3) or wsgi. auto tells it by the "
        "arguments that APP takes.",
        default="auto",
    )
    lifespan: LifespanName = option(
        Choice(get_args(LifespanName), "MODE"),
        "Whether an ASGI app has a lifespan: auto asks it, and serves one that raises "
        "all the same; on ends the start then; off does not ask.",
        default="auto",
    )
    threads: int = option(
        Count(1, THREAD_LIMIT),
        "Requests that a worker runs at once of a WSGI app, each in a thread; more "
        "wait in order.",
        default=4,
    )
    asgi_pathsend: bool = option(
        Flag(),
        "Announce http.response.pathsend to an ASGI app. Frameworks then send files by "
        "it past their own middlewares: uncompressed, where one would compress them.",
        default=False,
    )

    @property
    def gateway(self) -> GatewayConfig:
        """All of it, for the processes of the app."""
        return GatewayConfig(
            interface=self.interface,
            lifespan=self.lifespan,
            threads=self.threads,
            sends_paths=self.asgi_pathsend,
        )
