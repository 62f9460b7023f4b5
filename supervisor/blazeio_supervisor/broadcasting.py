"""``blazeio_supervisor.broadcast``: messages to all workers, of apps of others.

Handlers are kept here until a worker serves the app, whose messages they then get.
Where the app is served by another server, or is imported by a test, the process that
sends a message is the only one that gets it.
"""

from typing import Any, TypeVar

from blazeio.app.app import App
from blazeio.app.broadcast import BroadcastHandler, Broadcasts

HandlerT = TypeVar("HandlerT", bound=BroadcastHandler)

_own = Broadcasts()


def broadcast(message: Any) -> bool:
    """Send a message to every worker of the service, also to this one.

    It may be called in any thread, and waits for nothing. See
    docs/how-to/broadcast.md.

    Args:
        message: What MessagePack has: text, octets, numbers, lists, dicts; at most
            32 KiB of it.

    Returns:
        False: it was dropped, and only this process gets it. Another thread than the
        loop's, as those of WSGI apps are, is told True before that is known.

    Raises:
        ValueError: It is too long, or no such value.
    """
    return _own.send(message)


def on_broadcast(handler: HandlerT) -> HandlerT:
    """Call a function, async or not, with each message of ``broadcast``, in the loop.

    One message is handled after the other; an exception is logged.

    Raises:
        blazeio.errors.ConfigurationError: It does not take one argument.
    """
    _own.add(handler)
    return handler


def add_to(app: App) -> None:
    """Let what is sent here reach the workers of this app, and its handlers too."""
    app.broadcasts.include(_own)
