"""HTTP/2 beside other servers: ``python -m tests.bench.http2_load``.

h2load asks, with 16 connections of 10 streams each and 64 of one; without TLS by prior
knowledge, and over TLS. CPU time of the server's whole tree for each request; of a
response and of a content of 100 MB, CPU seconds; and what an idle connection holds.
Servers take turns within a round; the figure is the median of the rounds. The load
average stands beside the figures: above the number of cores they are noise, and only
the ratios of one run mean something.
"""

import argparse
import contextlib
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import trustme

from blazeio.http2.connection import REST_S
from tests.bench.contestants import APPS, OURS, Contestant, program
from tests.bench.idle_memory import raise_descriptor_limit
from tests.bench.serving import DidNotServeError, Served, serving
from tests.support.http2 import OPENING, headers

REQUESTS = 20_000
BULK_BYTES = 100_000_000
IDLE_COUNT = 3000
LOADS = {"-c16 -m10": (16, 10), "-c64 -m1": (64, 1)}
NGINX = """
daemon off; master_process on; worker_processes 1; pid {folder}/pid;
error_log {folder}/error.log; events {{ worker_connections 8192; }}
http {{
  access_log off; default_type application/json;
  keepalive_requests 1000000000; keepalive_timeout 75; client_max_body_size 0;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} {how} http2;
    {certificate}
    location / {{ return 200 '{{"hello":"world"}}'; }}
  }}
}}
"""
BARS = {
    ("us -c16 -m10", "granian"): 1.0,
    ("us -c16 -m10", "uvicorn"): 0.65,
    ("us -c16 -m10", "us HTTP/1.1"): 1.8,
    ("us -c64 -m1", "us HTTP/1.1"): 1.8,
    ("s 100 MB down", "best peer"): 1.5,
    ("s 100 MB up", "best peer"): 1.5,
    ("KB idle h2", "KB idle h1"): 1.5,
}
"""Of what is ours: at most so many times that of a peer, or of ours by HTTP/1.1."""
Words = Callable[[str, int, Path, Path | None], list[str]]
"""Of the app, the port, a folder, and the certificate if TLS is spoken."""


def _nginx(app: str, port: int, folder: Path, pair: Path | None) -> list[str]:
    config = folder / "nginx.conf"
    certificate = pair and f"ssl_certificate {pair}; ssl_certificate_key {pair};"
    how = "ssl" if pair else ""
    text = NGINX.format(
        folder=folder, port=port, how=how, certificate=certificate or ""
    )
    config.write_text(text)
    return [program("nginx"), "-c", str(config), "-e", str(folder / "error.log")]


def _blazeio(app: str, port: int, folder: Path, pair: Path | None) -> list[str]:
    words = [program(OURS[0]), f"blazeio_{app}:web", "--app-dir", str(APPS)]
    words += ["--workers", "1", "--bind", f"127.0.0.1:{port}"]
    return [*words, *(["--certfile", str(pair)] if pair else [])]


def _granian(app: str, port: int, folder: Path, pair: Path | None) -> list[str]:
    words = [program("granian"), f"asgi_{app}:app", "--working-dir", str(APPS)]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--loop", "uvloop", "--http", "2" if pair is None else "auto"]
    words += ["--interface", "asginl", "--log-level", "warning", "--no-access-log"]
    if pair:
        words += ["--ssl-certificate", str(pair), "--ssl-keyfile", str(pair)]
    return words


def _uvicorn(app: str, port: int, folder: Path, pair: Path | None) -> list[str]:
    words = [program("uvicorn"), f"asgi_{app}:app", "--app-dir", str(APPS)]
    words += ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop"]
    words += ["--http", "zttp", "--http2", "--lifespan", "off"]
    words += ["--no-access-log", "--log-level", "warning"]
    if pair:
        words += ["--ssl-certfile", str(pair), "--ssl-keyfile", str(pair)]
    return words


def _hypercorn(app: str, port: int, folder: Path, pair: Path | None) -> list[str]:
    words = [program("hypercorn"), f"{APPS}/asgi_{app}:app"]
    words += ["--bind", f"127.0.0.1:{port}", "-k", "uvloop", "--workers", "1"]
    if pair:
        words += ["--certfile", str(pair), "--keyfile", str(pair)]
    return words


SERVERS: dict[str, tuple[str, Words]] = {
    OURS[0]: (OURS[0], _blazeio),
    "granian": ("granian", _granian),
    "uvicorn": ("zttp", _uvicorn),
    "hypercorn": ("hypercorn", _hypercorn),
    "nginx": ("nginx", _nginx),
}


def make(name: str, app: str, pair: Path | None) -> Contestant:
    """The server with this app; over TLS where there is a certificate."""
    needs, words = SERVERS[name]
    return Contestant(
        name,
        needs,
        lambda port, folder: words(app, port, folder, pair),
        is_tls=pair is not None,
        is_http2=pair is None,
    )


def h2load(served: Served, path: str, *words: str) -> None:
    """Ask by h2load, on the second core.

    Raises:
        DidNotServeError: Not every request was answered by 2xx.
    """
    scheme = "https" if served.is_tls else "http"
    url = f"{scheme}://127.0.0.1:{served.port}{path}"
    done = subprocess.run(
        ["taskset", "-c", "1", "h2load", *words, url],
        capture_output=True,
        text=True,
        check=False,
    )
    if ", 0 failed, 0 errored" not in done.stdout or " 2xx, 0 3xx" not in done.stdout:
        raise DidNotServeError(done.stdout[-600:] + done.stderr[-300:])


def spend(served: Served, path: str, *words: str) -> float:
    """CPU seconds that a load costs the server."""
    before_s = served.cpu_s()
    h2load(served, path, *words)
    return served.cpu_s() - before_s


def measure_hello(served: Served, count: int, *, by_http1: bool) -> dict[str, float]:
    """Microseconds for each request, by load."""
    figures = {}
    for load, (connections, streams) in LOADS.items():
        words = ("-c", str(connections), "-m", str(streams))
        h2load(served, "/", "-n", str(count // 10), *words)
        spent_s = spend(served, "/", "-n", str(count), *words)
        figures[f"us {load}"] = spent_s / count * 1e6
    if by_http1:
        spent_s = spend(served, "/", "-n", str(count), "-c64", "--h1")
        figures["us HTTP/1.1"] = spent_s / count * 1e6
    return figures


def measure_bulk(served: Served, content: Path) -> dict[str, float]:
    """CPU seconds of 100 MB down and up."""
    words = ("-n", "1", "-c", "1", "-m", "1", "-w", "24", "-W", "25")
    down_s = spend(served, f"/send?{BULK_BYTES}", *words)
    up_s = spend(served, "/count", *words, "-d", str(content))
    return {"s 100 MB down": down_s, "s 100 MB up": up_s}


IDLE_REQUESTS = {
    "h2": OPENING + headers(1),
    "h1": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


def measure_idle(served: Served, octets: bytes) -> float:
    """KiB of each idle connection that has had one answer, and rests."""
    with _open_idle(served, IDLE_COUNT // 20, octets):
        pass
    before = served.rss_bytes()
    with _open_idle(served, IDLE_COUNT, octets):
        time.sleep(REST_S + 1)
        return (served.rss_bytes() - before) / IDLE_COUNT / 1024


@contextlib.contextmanager
def _open_idle(served: Served, count: int, octets: bytes) -> Iterator[None]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if octets.startswith(b"PRI"):
        context.set_alpn_protocols(["h2"])
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", served.port), 5)
            if served.is_tls:
                sock = context.wrap_socket(sock)
            stack.callback(sock.close)
            sock.sendall(octets)
            got = b""
            while b"world" not in got:
                part = sock.recv(65536)
                assert part, got
                got += part
        yield


def run_round(
    name: str, pair: Path | None, content: Path, count: int
) -> dict[str, float]:
    """All figures of one server in one round."""
    with serving(make(name, "hello", pair), 0) as served:
        figures = measure_hello(served, count, by_http1=name == OURS[0])
    for protocol, octets in IDLE_REQUESTS.items() if name == OURS[0] else ():
        with serving(make(name, "hello", pair), 0) as served:
            figures[f"KB idle {protocol}"] = measure_idle(served, octets)
    if name != "nginx":
        with serving(make(name, "bulk", pair), 0) as served:
            figures |= measure_bulk(served, content)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--only", action="append", choices=SERVERS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    names = options.only or list(SERVERS)
    raise_descriptor_limit()
    seen: dict[tuple[str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pair, content = Path(folder) / "pair.pem", Path(folder) / "content"
        issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(str(pair))
        content.write_bytes(bytes(BULK_BYTES))
        for _ in range(options.rounds):
            for layer, certificate in (("h2c", None), ("TLS", pair)):
                for name in names:
                    if not make(name, "hello", None).is_installed():
                        continue
                    try:
                        got = run_round(name, certificate, content, options.requests)
                    except DidNotServeError as error:
                        print(f"{name} over {layer}: {error}", file=sys.stderr)
                        continue
                    for what, value in got.items():
                        seen.setdefault((layer, what, name), []).append(value)
    show(seen, is_json=options.json)


def show(seen: dict[tuple[str, str, str], list[float]], *, is_json: bool) -> None:
    """Print the medians, and each one's ratio to ours."""
    medians = {key: statistics.median(values) for key, values in seen.items()}
    if is_json:
        load = os.getloadavg()
        rows = [[*key, value] for key, value in medians.items()]
        print(json.dumps({"load average": load, "medians": rows}))
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for (layer, what, name), value in sorted(medians.items()):
        own = medians.get((layer, what, OURS[0]))
        ratio = f"{own / value:6.2f} of its" if own and name != OURS[0] else ""
        print(f"{layer:4} {what:14} {name:20} {value:9.2f} {ratio}")
    for layer in ("h2c", "TLS"):
        for (what, base), bar in BARS.items():
            found = _find_ratio(medians, layer, what, base)
            if found is not None:
                holds = "holds" if found <= bar else "MISSED"
                print(f"{layer} {what}: {found:.2f} of {base}, bar {bar:g}: {holds}")


def _find_ratio(
    medians: dict[tuple[str, str, str], float], layer: str, what: str, base: str
) -> float | None:
    """What is ours, divided by what it is compared with; None: that was not seen."""
    own = medians.get((layer, what, OURS[0]))
    others = [
        value
        for (at, seen, name), value in medians.items()
        if at == layer and seen == what and name not in (OURS[0], "nginx")
    ]
    if base == "best peer":
        other = min(others, default=None)
    else:
        other = medians.get((layer, what, base)) or medians.get((layer, base, OURS[0]))
    return None if own is None or not other else own / other


if __name__ == "__main__":
    main()
