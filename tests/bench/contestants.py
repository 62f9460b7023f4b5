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


@dataclass(frozen=True, slots=True)
class Contestant:
    """One server.

    Attributes:
        name: As ``--only`` takes it.
        needs: A program on the path, or a module that can be imported.
        command: Of the port and of a folder for files of its own.
    """

    name: str
    needs: str
    command: Callable[[int, Path], list[str]]

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


def _uvicorn(port: int, folder: Path) -> list[str]:
    command = [program("uvicorn"), "asgi_hello:app", "--app-dir", str(APPS)]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    how = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
    return [*command, *where, *how, "--no-access-log", "--log-level", "warning"]


def _granian(interface: str) -> Callable[[int, Path], list[str]]:
    def command(port: int, folder: Path) -> list[str]:
        app = [f"{interface}_hello:app", "--working-dir", str(APPS)]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        how = ["--workers", "1", "--loop", "uvloop", "--http", "1"]
        quiet = ["--log-level", "warning", "--no-access-log"]
        chosen = ["--interface", {"asgi": "asginl"}.get(interface, interface)]
        return [program("granian"), *app, *where, *how, *quiet, *chosen]

    return command


def _aiohttp(port: int, folder: Path) -> list[str]:
    return [sys.executable, str(APPS / "aiohttp_hello.py"), str(port)]


def _blazeio(port: int, folder: Path) -> list[str]:
    return [sys.executable, str(APPS / "blazeio_hello.py"), str(port)]


def _supervisor(port: int, folder: Path) -> list[str]:
    app = [program("blazeio-supervisor"), "blazeio_hello:web", "--app-dir", str(APPS)]
    return [*app, "--workers", "1", "--bind", f"127.0.0.1:{port}"]


CONTESTANTS = (
    Contestant("nginx", "nginx", _nginx),
    Contestant(OURS[0], "blazeio-supervisor", _supervisor),
    Contestant(OURS[1], "blazeio", _blazeio),
    Contestant("granian-rsgi", "granian", _granian("rsgi")),
    Contestant("granian-asgi", "granian", _granian("asgi")),
    Contestant("uvicorn", "uvicorn", _uvicorn),
    Contestant("aiohttp", "aiohttp", _aiohttp),
)
