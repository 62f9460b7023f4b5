"""All sections in their order, and what they make together.

To add an option: declare it in the section it belongs to, read it here into a
field of ``Settings``.
"""

from collections.abc import Mapping
from typing import Any

from blazeio_supervisor.control.verbs.words import PROGRAM
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.addresses import (
    ADDRESSES,
    read_binds,
    read_control,
    read_steering,
)
from blazeio_supervisor.options.overrides.access_log import ACCESS_LOG, read_access_log
from blazeio_supervisor.options.overrides.limits import LIMITS, read_bounds
from blazeio_supervisor.options.overrides.proxies import PROXIES, read_proxies
from blazeio_supervisor.options.overrides.tls import TLS, read_tls
from blazeio_supervisor.options.privileges import (
    PRIVILEGES,
    read_identity,
    read_umask,
)
from blazeio_supervisor.options.process import (
    PROCESS,
    read_app,
    read_log_level,
    read_loop,
    read_name,
    read_workers,
)
from blazeio_supervisor.options.renewal import (
    RENEWAL,
    read_health_path,
    read_limits,
)
from blazeio_supervisor.options.times import TIMES, read_spans
from blazeio_supervisor.process.messages import Overrides
from blazeio_supervisor.settings import (
    Settings,
    find_app_dir,
    find_folder,
    find_runtime_directory,
)

SECTIONS = (
    PROCESS,
    ADDRESSES,
    TLS,
    PROXIES,
    ACCESS_LOG,
    TIMES,
    RENEWAL,
    LIMITS,
    PRIVILEGES,
)


def read_settings(app: str | None, given: Mapping[str, Any]) -> Settings:
    """Check everything that was given, before anything is started.

    Args:
        app: The argument.
        given: Each option by click's name for it.

    Raises:
        UsageError: Something is wrong; says what, and what to write.
    """
    if app is None:
        raise UsageError(f"APP is missing: write `{PROGRAM} module:attribute`")
    folder = find_folder()
    return Settings(
        app=read_app(app),
        workers=read_workers(given["workers"]),
        binds=read_binds(given["bind"]),
        folder=folder,
        app_dir=find_app_dir(folder, given["app_dir"]),
        loop=read_loop(given["loop"]),
        health_path=read_health_path(given["health_path"]),
        limits=read_limits(given),
        is_preload=given["preload"],
        identity=read_identity(given["user"], given["group"]),
        umask=read_umask(given["umask"]),
        log_level=read_log_level(given["log_level"]),
        overrides=_read_overrides(given),
        name=read_name(given["name"]),
        steering=read_steering(given["steering"]),
        control=read_control(given["control"]),
        runtime_directory=find_runtime_directory(),
        **read_spans(given),
    )


def _read_overrides(given: Mapping[str, Any]) -> Overrides:
    return Overrides(
        tls=read_tls(given),
        limits=read_bounds(given),
        **read_proxies(given),
        **read_access_log(given),
    )
