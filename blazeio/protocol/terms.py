"""What holds for one route, and not for the whole app.

Looked up only where it matters: for a request with content, and when a client
goes away; a plain request never pays for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from blazeio.errors import ConfigurationError

OnDisconnect = Literal["cancel", "finish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTerms:
    """The terms of one route.

    Attributes:
        content_bytes: Most content of a request, octets; more: 413. None: as
            ``Limits.content_bytes`` says.
        on_disconnect: ``cancel``: a client that goes away ends the handler;
            ``finish``: it runs on, bounded by its deadline and by the drain.

    Raises:
        ConfigurationError: One of them cannot be.
    """

    content_bytes: int | None = None
    on_disconnect: OnDisconnect = "cancel"

    def __post_init__(self) -> None:
        size = self.content_bytes
        if size is not None and (not isinstance(size, int) or size < 0):
            message = f"content_bytes={size!r}: expected a number of octets"
            raise ConfigurationError(message)
        if self.on_disconnect not in ("cancel", "finish"):
            message = (
                f"on_disconnect={self.on_disconnect!r}: expected 'cancel' or 'finish'"
            )
            raise ConfigurationError(message)


USUAL = RouteTerms()

FindTerms = Callable[[str, str], RouteTerms]
"""From method and path to the terms of their route; USUAL where there are none."""


def find_usual(method: str, path: str) -> RouteTerms:
    """Give the terms of a server that has no routes."""
    return USUAL
