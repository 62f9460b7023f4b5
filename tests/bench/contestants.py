"""Who is compared: one command each, serving the JSON hello on a port."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

APPS = Path(__file__).with_name("apps")
OURS = ("blazeio-supervisor", "blazeio")
"""What others are compared with: the first of these that was measured."""
BASE = "nginx"

NGINX = """
daemon off; master_process on; worker_processes 1; pid {folder}/pid;
error_log {folder}/error.log; events {{ worker_connections 8192; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000000;
  keepalive_timeout 75;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{{"hello":"world"}}'; }}
  }}
}}
"""

Command = Callable[[int, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One server.

    Attributes:
        name: As ``--only`` takes it.
        needs: A program on the path, or a module that can be imported.
        command: Of the port and of a folder for files of its own.
        is_tls: Whether it speaks TLS.
        is_http2: Whether it speaks nothing but HTTP/2.
    """

    name: str
    needs: str
    command: Command
    is_tls: bool = False
    is_http2: bool = False

    def is_installed(self) -> bool:
        """Whether what it needs is there."""
        if Path(program(self.needs)).exists():
            return True
        return importlib.util.find_spec(self.needs) is not None


def program(name: str) -> str:
    """Beside this interpreter, or the system's, which may be for root only."""
    folders = [str(Path(sys.executable).parent), os.defpath, "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders)) or name


def _nginx(port: int, folder: Path) -> list[str]:
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(port=port, folder=folder))
    return [program("nginx"), "-c", str(config), "-e", str(folder / "error.log")]


def _uvicorn(app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        command = [program("uvicorn"), f"asgi_{app}:app", "--app-dir", str(APPS)]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        how = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
        return [*command, *where, *how, "--no-access-log", "--log-level", "warning"]

    return command


def _granian(interface: str, app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = [f"{interface}_{app}:app", "--working-dir", str(APPS)]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        how = ["--workers", "1", "--loop", "uvloop", "--http", "1"]
        quiet = ["--log-level", "warning", "--no-access-log"]
        chosen = ["--interface", {"asgi": "asginl"}.get(interface, interface)]
        return [program("granian"), *application, *where, *how, *quiet, *chosen]

    return command


def _gunicorn(port: int, folder: Path) -> list[str]:
    where = ["--bind", f"127.0.0.1:{port}", "--chdir", str(APPS)]
    how = ["--workers", "1", "--worker-class", "asgi", "--log-level", "warning"]
    return [program("gunicorn"), "asgi_hello:app", *where, *how]


def _hypercorn(port: int, folder: Path) -> list[str]:
    where = ["--bind", f"127.0.0.1:{port}", "--workers", "1"]
    # It imports from its working directory alone.
    inside = [program("env"), f"--chdir={APPS}", program("hypercorn")]
    return [*inside, "asgi_hello:app", *where]


def _aiohttp(port: int, folder: Path) -> list[str]:
    return [sys.executable, str(APPS / "aiohttp_hello.py"), str(port)]


def _blazeio(app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        return [sys.executable, str(APPS / f"blazeio_{app}.py"), str(port)]

    return command


def _supervisor(app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = [f"blazeio_{app}:web", "--app-dir", str(APPS)]
        how = ["--workers", "1", "--bind", f"127.0.0.1:{port}"]
        return [program("blazeio-supervisor"), *application, *how]

    return command


CONTESTANTS = (
    Contestant("nginx", "nginx", _nginx),
    Contestant(OURS[0], "blazeio-supervisor", _supervisor("hello")),
    Contestant(OURS[1], "blazeio", _blazeio("hello")),
    Contestant("granian-rsgi", "granian", _granian("rsgi", "hello")),
    Contestant("granian-asgi", "granian", _granian("asgi", "hello")),
    Contestant("uvicorn", "uvicorn", _uvicorn("hello")),
    Contestant("aiohttp", "aiohttp", _aiohttp),
    Contestant("gunicorn", "gunicorn", _gunicorn),
    Contestant("hypercorn", "hypercorn", _hypercorn),
)
BULK_CONTESTANTS = (
    Contestant(OURS[1], "blazeio", _blazeio("bulk")),
    Contestant("granian-asgi", "granian", _granian("asgi", "bulk")),
    Contestant("uvicorn", "uvicorn", _uvicorn("bulk")),
)
"""Who moves large bodies; each with an app that counts and one that sends."""
