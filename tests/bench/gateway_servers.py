"""Who serves apps of ASGI and of WSGI: one server for each app.

All run one worker, without an access log; those of WSGI four threads.
"""

import sys
from pathlib import Path

from tests.bench.contestants import APPS, Command, Contestant, program

THREADS = 4
ASGI_APPS = ("raw", "starlette", "fastapi")
WSGI_APPS = ("raw", "flask")


def _blazeio(app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = [f"{app}:app", "--app-dir", str(APPS), "--no-config"]
        where = ["--bind", f"127.0.0.1:{port}", "--control", str(folder / "control")]
        how = ["--workers", "1", "--threads", str(THREADS)]
        return [program("blazeio-supervisor"), *application, *where, *how]

    return command


def _uvicorn(app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = [f"{app}:app", "--app-dir", str(APPS), "--port", str(port)]
        how = ["--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio"]
        quiet = ["--no-access-log", "--log-level", "critical"]
        return [program("uvicorn"), *application, *how, *quiet]

    return command


def _granian(app: str, *options: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = [f"{app}:app", "--working-dir", str(APPS), "--port", str(port)]
        how = ["--workers", "1", "--loop", "uvloop", "--http", "1"]
        quiet = ["--log-level", "warning", "--no-access-log"]
        return [program("granian"), *application, *how, *quiet, *options]

    return command


def _gthread(app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = [f"{app}:app", "--chdir", str(APPS), "--no-control-socket"]
        where = ["--bind", f"127.0.0.1:{port}", "--threads", str(THREADS)]
        how = ["--worker-class", "gthread", "--log-level", "warning"]
        return [program("gunicorn"), *application, *where, *how]

    return command


def _floor(app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        return [sys.executable, str(APPS / "floor_asgi.py"), str(port), app]

    return command


def _list_servers(interface: str, app: str) -> list[Contestant]:
    """All that serve one app."""
    module = f"{interface}_{app}"
    ours = Contestant(f"blazeio-{module}", "blazeio-supervisor", _blazeio(module))
    if interface == "asgi":
        granian = ["--interface", "asgi"]
        other = Contestant(f"uvicorn-{module}", "uvicorn", _uvicorn(module))
    else:
        granian = ["--interface", "wsgi", "--blocking-threads", str(THREADS)]
        other = Contestant(f"gthread-{module}", "gunicorn", _gthread(module))
    third = Contestant(f"granian-{module}", "granian", _granian(module, *granian))
    floor = Contestant(f"floor-{module}", "uvloop", _floor(module))
    return [ours, other, third, *([floor] if interface == "asgi" else [])]


GATEWAY_SERVERS = {
    each.name: each
    for interface, apps in (("asgi", ASGI_APPS), ("wsgi", WSGI_APPS))
    for app in apps
    for each in _list_servers(interface, app)
}
