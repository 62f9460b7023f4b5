"""What a profile costs a worker under load: its processor time for each request.

    python -m tests.bench.profile_cost

A worker is kept busy by wrk, in turns without and with a profile; the median of the
paired ratios is printed. The bar is 1.03.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PAIRS = 8
WINDOW_S = 3.0
APP = """
import blazeio as io

web = io.App()

def work(count):
    return sum(n * n for n in range(count))

@web.route.get("/")
async def index(r):
    await io.Deliver.json(r, {"sum": work(300)})
"""


def ask(folder: Path, *words: str) -> Any:
    """Ask the service by a verb; return its JSON."""
    program = [sys.executable, "-m", "blazeio_supervisor", *words, "--json"]
    place = ["--control", str(folder / "c.sock")]
    done = subprocess.run([*program, *place], capture_output=True, check=True)
    return json.loads(done.stdout)


def wait_until_ready(folder: Path) -> None:
    """Wait until the service answers, and its worker serves."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if ask(folder, "status")["is_ready"]:
                return
        except subprocess.CalledProcessError:
            pass  # it is just starting
        time.sleep(0.2)
    raise TimeoutError(folder / "log")


def read_worker(folder: Path) -> tuple[float, int]:
    """Return the processor time of the worker, and its requests."""
    (worker,) = ask(folder, "status")["workers"]
    return float(worker["cpu_s"]), int(worker["requests"])


def measure(folder: Path, *, is_profiled: bool) -> float:
    """Return the microseconds of a request over one window."""
    cpu_s, requests = read_worker(folder)
    if is_profiled:
        ask(folder, "profile", "0", "--seconds", str(WINDOW_S))
    else:
        time.sleep(WINDOW_S)
    ends_s, ends = read_worker(folder)
    return (ends_s - cpu_s) / (ends - requests) * 1e6


def run(folder: Path) -> None:
    """Measure in pairs, in turns first with and first without."""
    ratios = []
    for number in range(PAIRS):
        order = (False, True) if number % 2 else (True, False)
        found = {on: measure(folder, is_profiled=on) for on in order}
        ratios.append(found[True] / found[False])
        print(
            f"{found[False]:7.2f} {found[True]:7.2f} us {ratios[-1]:6.3f}", flush=True
        )
    print(f"median {statistics.median(ratios):.3f}")


def load(folder: Path, service: "subprocess.Popen[bytes]") -> None:
    """Measure while wrk asks; the service ends in any case."""
    try:
        wait_until_ready(folder)
        (address,) = ask(folder, "status")["addresses"]
        span = f"-d{round(PAIRS * (2 * WINDOW_S + 20))}s"  # it is ended before
        words = ["wrk", "-t1", "-c16", span, f"{address}/"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as wrk:
            try:
                time.sleep(1)
                run(folder)
            finally:
                wrk.terminate()
    finally:
        service.terminate()


def main() -> None:
    """Start a service with one worker, and load it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(APP)
        options = ["--workers", "1", "--bind", "127.0.0.1:0", "--control", "c.sock"]
        program = [sys.executable, "-m", "blazeio_supervisor", "app:web", *options]
        with (
            open(folder / "log", "w") as log,
            subprocess.Popen(program, cwd=folder, stderr=log) as service,
        ):
            load(folder, service)


if __name__ == "__main__":
    main()
