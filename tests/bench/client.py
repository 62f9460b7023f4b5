"""The client beside aiohttp's, both asking nginx: ``python -m tests.bench.client``.

nginx runs on core 0, each client in turn on core 1, in a process of its own and on
uvloop. Small: keep-alive GETs of a ``return 200``, so many in flight; the figure is
CPU time of the client per request. Large: one GET of a file. The rounds of the
clients take turns, so that a busy machine hits all of them; the median counts.

``--suite closing`` asks a server that closes its connections; see ``closing``.
"""

import argparse
import asyncio
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from tests.bench import closing
from tests.bench.contestants import NGINX, Contestant, program
from tests.bench.serving import serving

SERVER_CORE, CLIENT_CORE = 0, 1
MIB = 1024 * 1024
IN_FLIGHT = 32
WARM_UP_COUNT = 2000
LARGE_NAME = "large"
LARGE = "location /large {{ root {folder}; }}"


def nginx_with_a_file(mib: int) -> Contestant:
    """nginx, with a sparse file beside its ``return 200``."""

    def command(port: int, folder: Path) -> list[str]:
        with (folder / "large").open("wb") as file:
            file.truncate(mib * MIB)
        folder.chmod(0o755)
        config = folder / "nginx.conf"
        text = NGINX.replace("location /", f"sendfile on; {LARGE} location /", 1)
        config.write_text(text.format(port=port, folder=folder))
        return [program("nginx"), "-c", str(config), "-e", str(folder / "error.log")]

    return Contestant("nginx", "nginx", command)


# The clients, each in a process of its own


async def ask_by_blazeio(url: str, count: int) -> None:
    import blazeio as io

    async with io.Session() as session:

        async def worker(share: int) -> None:
            for _ in range(share):
                async with session.get(url) as resp:
                    assert resp.status_code == 200
                    await resp.aread()

        await asyncio.gather(*(worker(count // IN_FLIGHT) for _ in range(IN_FLIGHT)))


async def ask_by_aiohttp(url: str, count: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def worker(share: int) -> None:
            for _ in range(share):
                async with session.get(url) as resp:
                    assert resp.status == 200
                    await resp.read()

        await asyncio.gather(*(worker(count // IN_FLIGHT) for _ in range(IN_FLIGHT)))


async def download_by_blazeio(url: str, count: int) -> None:
    import blazeio as io

    async with io.Session(url) as resp:
        size = 0
        async for piece in resp.pull():
            size += len(piece)
    assert size == count


async def download_by_aiohttp(url: str, count: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(url) as resp:
        size = 0
        async for piece in resp.content.iter_any():
            size += len(piece)
    assert size == count


Work = Callable[[str, int], Awaitable[None]]
SMALL: dict[str, Work] = {"blazeio": ask_by_blazeio, "aiohttp": ask_by_aiohttp}
DOWNLOAD: dict[str, Work] = {
    "blazeio": download_by_blazeio,
    "aiohttp": download_by_aiohttp,
}


def be_client(name: str, suite: str, url: str, count: int) -> None:
    """What the process of a client does; prints CPU and wall seconds."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    importlib.import_module(name)  # else its import is measured
    work = (SMALL if suite == "small" else DOWNLOAD)[name]

    async def run() -> None:
        # ours is imported when it is first used, 0.2 s
        await SMALL[name](url.removesuffix(LARGE_NAME), WARM_UP_COUNT)
        before_s, began_at = _cpu_s(), time.perf_counter()
        await work(url, count)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        spent = _cpu_s() - before_s, time.perf_counter() - began_at, peak
        print(json.dumps(spent))

    uvloop.run(run())


def _cpu_s() -> float:
    return time.process_time()


def measure(name: str, suite: str, url: str, count: int) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and peak memory of one client."""
    command = [sys.executable, "-m", "tests.bench.client", "--be", name, suite, url]
    output = subprocess.run(
        [*command, str(count)], check=True, capture_output=True, text=True
    ).stdout
    cpu_s, wall_s, peak_bytes = json.loads(output)
    return cpu_s, wall_s, peak_bytes


def compare(requests: int, mib: int, rounds: int, names: Sequence[str]) -> None:
    """Both suites, for all clients."""
    with serving(nginx_with_a_file(mib), SERVER_CORE) as served:
        root = f"http://127.0.0.1:{served.port}/"
        suites = (
            ("small", root, requests),
            ("download", f"{root}{LARGE_NAME}", mib * MIB),
        )
        for suite, url, count in suites:
            if not count:
                continue
            spans: dict[str, list[tuple[float, float, int]]] = {n: [] for n in names}
            for _ in range(rounds):
                for name in names:
                    spans[name].append(measure(name, suite, url, count))
            report(suite, count, spans)


def report(
    suite: str, count: int, spans: dict[str, list[tuple[float, float, int]]]
) -> None:
    """One line a client."""
    first = 0.0
    for name, taken in spans.items():
        cpu_s, wall_s, peak = map(statistics.median, zip(*taken, strict=True))
        if suite == "small":
            figure, unit = cpu_s / count * 1e6, "us CPU a request"
            rate = f"{count / wall_s:,.0f} requests/s"
        else:
            figure, unit = cpu_s, "s CPU"
            rate = f"{count / wall_s / 1e9:.2f} GB/s, {wall_s:.2f} s"
        first = first or figure
        print(
            f"{suite:10} {name:10} {figure:8.2f} {unit:18} {figure / first:5.2f}x  "
            f"{rate}, peak {peak / MIB:.0f} MiB"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.bench.client", description=__doc__
    )
    parser.add_argument("--requests", type=int, default=64_000)
    parser.add_argument("--mib", type=int, default=1024, help="of the download")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=list(closing.CLIENTS))
    parser.add_argument("--suite", default="speed", choices=["speed", "closing"])
    parser.add_argument("--be", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.be is not None:
        name, suite, url, count = options.be
        be_client(name, suite, url, int(count))
    elif options.suite == "closing":
        closing.compare(options.only or list(closing.CLIENTS))
    else:
        names = [name for name in SMALL if name in (options.only or SMALL)]
        compare(options.requests, options.mib, options.rounds, names)


if __name__ == "__main__":
    main()
