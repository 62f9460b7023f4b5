"""Files, beside nginx: ``python -m tests.bench.static_files``.

A file of 16 KiB, from our memory and from our folder, by wrk with 64
connections; one of 100 MB over one connection. Server on core 0, load on core
1; the rounds take turns, so that a busy machine hits both; the median counts.
"""

import os
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench.bulk_client import fetch_whole
from tests.bench.contestants import APPS, Contestant, program
from tests.bench.load import run_wrk
from tests.bench.serving import Served, serving

SERVER_CORE, LOAD_CORE = 0, 1
SMALL_BYTES, LARGE_BYTES = 16 * 1024, 100_000_000
ROUNDS, DURATION_S = 5, 2
NGINX = """
daemon off; master_process off; pid {folder}/pid;
error_log {folder}/error.log; events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port}; root {folder};
    location = / {{ return 200 'static'; }}
    location /folder/ {{ alias {folder}/; }}
  }}
}}
"""


def make_files(folder: Path) -> None:
    """Those that are asked for."""
    (folder / "small.bin").write_bytes(os.urandom(SMALL_BYTES))
    (folder / "large.bin").write_bytes(os.urandom(LARGE_BYTES))


def nginx(port: int, folder: Path) -> list[str]:
    """The command; its files are made."""
    make_files(folder)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(port=port, folder=folder))
    return [program("nginx"), "-c", str(config), "-e", str(folder / "error.log")]


def blazeio(port: int, folder: Path) -> list[str]:
    """The command; its files are made."""
    make_files(folder)
    return [sys.executable, str(APPS / "blazeio_static.py"), str(port), str(folder)]


CONTESTANTS = (
    Contestant("nginx", "nginx", nginx),
    Contestant("blazeio", "blazeio", blazeio),
)


def requests_per_s(served: Served, path: str) -> float:
    """Of the small file."""
    load = run_wrk(
        served.port, core=LOAD_CORE, connections=64, duration_s=DURATION_S, path=path
    )
    if load.error_count:
        sys.exit(f"{load.error_count} of {load.request_count} requests failed")
    return load.requests_per_s


def gb_per_s(served: Served, path: str) -> float:
    """Of the large file."""
    return LARGE_BYTES / fetch_whole(served.port, path, LARGE_BYTES) / 1e9


MEASURES = (
    ("16 KiB, memory, requests/s", requests_per_s, "/small.bin"),
    ("16 KiB, folder, requests/s", requests_per_s, "/folder/small.bin"),
    ("100 MB, GB/s", gb_per_s, "/folder/large.bin"),
)


def main() -> None:
    """Measure all, print a table."""
    print(f"{'':28} {'nginx':>10} {'blazeio':>10} {'blazeio/nginx':>14}")
    with ExitStack() as stack:
        both = [stack.enter_context(serving(each, SERVER_CORE)) for each in CONTESTANTS]
        os.sched_setaffinity(0, {LOAD_CORE})
        for title, measure, path in MEASURES:
            for each in both:
                measure(each, path)  # warm
            rounds = [[measure(each, path) for each in both] for _ in range(ROUNDS)]
            theirs, ours = map(statistics.median, zip(*rounds, strict=True))
            print(f"{title:28} {theirs:10,.2f} {ours:10,.2f} {ours / theirs:14.2f}")


if __name__ == "__main__":
    main()
