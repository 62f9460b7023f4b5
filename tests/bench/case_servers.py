"""Who answers the cases of the table: one server each, for all of them."""

import sys
from pathlib import Path

from tests.bench.contestants import APPS, Command, Contestant, program
from tests.support.tls_peer import NAME, Certificates

FILE_NAME, FILE_BYTES = "small.bin", 16 * 1024
LARGE_NAME, LARGE_BYTES = "large.bin", 1024**3
CERT_NAME = f"{NAME}.pem"

NGINX = """
daemon off; master_process on; worker_processes 1; pid {folder}/pid;
worker_rlimit_nofile 16384;
error_log {folder}/error.log; events {{ worker_connections 8192; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000000;
  keepalive_timeout 75; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} {tls};
    location = / {{ return 200 '{{"hello":"world"}}'; }}
    location ~ ^/users/(\\d+)/posts/(\\d+)$ {{
      return 200 '{{"user":$1,"post":$2}}';
    }}
    location = /{file} {{ root {folder}; }}
    location ^~ /folder/ {{ alias {folder}/; }}
    location = /send {{ rewrite ^ /{large} break; root {folder}; }}
  }}
}}
"""
TLS_OF_NGINX = """ssl;
    ssl_certificate {folder}/{cert}; ssl_certificate_key {folder}/{cert}"""


def make_files(folder: Path) -> None:
    """Make what is asked for: a small file, a large and sparse one, a certificate."""
    folder.chmod(0o755)
    (folder / FILE_NAME).write_bytes(b"x" * FILE_BYTES)
    with (folder / LARGE_NAME).open("wb") as file:
        file.truncate(LARGE_BYTES)
    Certificates(folder).issue(NAME)


def _with_files(command: Command, *, is_tls: bool = False) -> Command:
    def with_files(port: int, folder: Path) -> list[str]:
        make_files(folder)
        environment = [f"BENCH_FOLDER={folder}"]
        if is_tls:
            environment.append(f"BENCH_CERT={folder / CERT_NAME}")
        return ["env", *environment, *command(port, folder)]

    return with_files


def _nginx(*, is_tls: bool = False) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        tls = TLS_OF_NGINX.format(folder=folder, cert=CERT_NAME) if is_tls else ""
        names = {"file": FILE_NAME, "large": LARGE_NAME, "tls": tls}
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(port=port, folder=folder, **names))
        return [program("nginx"), "-c", str(config), "-e", str(folder / "error.log")]

    return _with_files(command, is_tls=is_tls)


def _python(app: str, *environment: str, is_tls: bool = False) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        return [*environment, sys.executable, str(APPS / f"{app}.py"), str(port)]

    return _with_files(command, is_tls=is_tls)


def _supervisor(*options: str, workers: int = 1) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = ["blazeio_cases:web", "--app-dir", str(APPS), "--no-config"]
        where = ["--bind", f"127.0.0.1:{port}", "--control", str(folder / "control")]
        given = [each.format(folder=folder) for each in options]
        count = ["--workers", str(workers)]
        return [program("blazeio-supervisor"), *application, *where, *count, *given]

    return _with_files(command)


def _uvicorn(*, is_tls: bool = False) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        command = [program("uvicorn"), "asgi_cases:app", "--app-dir", str(APPS)]
        where = ["--host", "127.0.0.1", "--port", str(port), "--lifespan", "off"]
        how = ["--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio"]
        plain = ["--ws-per-message-deflate", "false", "--no-access-log"]
        cert = str(folder / CERT_NAME)
        tls = ["--ssl-certfile", cert, "--ssl-keyfile", cert] if is_tls else []
        return [*command, *where, *how, *plain, "--log-level", "critical", *tls]

    return _with_files(command)


def _granian(interface: str, *, is_tls: bool = False) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = [f"{interface}_cases:app", "--working-dir", str(APPS)]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        how = ["--workers", "1", "--loop", "uvloop", "--http", "1"]
        quiet = ["--log-level", "warning", "--no-access-log"]
        chosen = ["--interface", {"asgi": "asginl"}.get(interface, interface)]
        tls: list[str] = []
        if is_tls:
            # its key has to be PKCS #8, which trustme's is not
            tls = ["--ssl-certificate", *_split_certificate(folder)]
        return [program("granian"), *application, *where, *how, *quiet, *chosen, *tls]

    return _with_files(command)


def _split_certificate(folder: Path) -> list[str]:
    """Write the key as PKCS #8; return the rest of granian's arguments."""
    from cryptography.hazmat.primitives import serialization

    pem = (folder / CERT_NAME).read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    path = folder / "key.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return [str(folder / CERT_NAME), "--ssl-keyfile", str(path)]


OBSERVED = ("--access-log", "{folder}/access.log", "--metrics-bind", "127.0.0.1:0")
SERVERS = {
    each.name: each
    for each in (
        Contestant("nginx", "nginx", _nginx()),
        Contestant("nginx-tls", "nginx", _nginx(is_tls=True), is_tls=True),
        Contestant("floor", "uvloop", _python("floor_hello")),
        Contestant("floor-echo", "uvloop", _python("floor_echo")),
        Contestant("blazeio", "blazeio", _python("blazeio_cases")),
        Contestant(
            "blazeio-tls", "blazeio", _python("blazeio_cases", is_tls=True), is_tls=True
        ),
        Contestant("untuned", "blazeio", _python("blazeio_cases", "BENCH_UNTUNED=1")),
        Contestant("supervised", "blazeio-supervisor", _supervisor()),
        Contestant("observed", "blazeio-supervisor", _supervisor(*OBSERVED)),
        Contestant("4-workers", "blazeio-supervisor", _supervisor(workers=4)),
        Contestant("64-workers", "blazeio-supervisor", _supervisor(workers=64)),
        Contestant("uvicorn", "uvicorn", _uvicorn()),
        Contestant("uvicorn-tls", "uvicorn", _uvicorn(is_tls=True), is_tls=True),
        Contestant("granian-rsgi", "granian", _granian("rsgi")),
        Contestant("granian-asgi", "granian", _granian("asgi")),
        Contestant(
            "granian-tls", "granian", _granian("asgi", is_tls=True), is_tls=True
        ),
        Contestant("fastpysgi", "fastpysgi", _python("wsgi_hello")),
        Contestant("picows", "picows", _python("picows_echo")),
    )
}
