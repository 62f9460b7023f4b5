"""What was found under the name of the app, and how it is served."""

from collections.abc import Callable
from typing import Any, cast

from blazeio.app.app import App
from blazeio.app.foreign import ForeignApp
from blazeio.errors import ConfigurationError
from blazeio.gateways.interfaces import Interface, find_interface
from blazeio.gateways.lifespan import LifespanMode
from blazeio_supervisor.ipc.messages import Load
from blazeio_supervisor.worker.import_app import Adopt


def make_adopter(load: Load) -> Adopt[App]:
    """Return a function that makes an App of what was imported."""
    gateway = load.gateway

    def adopt(found: object, name: str) -> App | None:
        interface = gateway.interface
        if isinstance(found, App):
            if interface in ("asgi", "wsgi"):
                raise ValueError(f"{name} is an App (--interface {interface})")
            return found
        return _adopt_foreign(found, name, load)

    return adopt


def _adopt_foreign(found: object, name: str, load: Load) -> App | None:
    gateway = load.gateway
    try:
        interface = find_interface(found, name, gateway.interface)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    if interface is Interface.FACTORY:
        return None
    if gateway.interface == "blazeio":
        reason = f"takes what an {interface.upper()} app does, and is no App"
        raise ValueError(f"{name} {reason} (--interface blazeio)")
    return ForeignApp(
        cast("Callable[..., Any]", found),
        interface,
        load.app,
        lifespan=LifespanMode(gateway.lifespan),
        threads=gateway.threads,
        sends_paths=gateway.sends_paths,
        is_multiprocess=True,
    )
