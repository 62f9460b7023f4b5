"""What is measured of one server in one round; less is better.

The server is on core 0 and the load on core 1, unless a measure says otherwise.
"""

import contextlib
import json
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.bench.bulk_client import fetch_whole
from tests.bench.contestants import program
from tests.bench.idle_memory import raise_descriptor_limit
from tests.bench.load import Load, run_wrk
from tests.bench.serving import Served
from tests.bench.websocket_echo import us_per_message

SERVER_CORE, LOAD_CORE = 0, 1
GIB = 1024**3
EVENT_BYTES = 64
EVENTS_PER_S = 10
TIMEOUT_S = 10.0

Measure = Callable[[Served, float], float]
"""Of a server and a span in seconds; the figure of one round."""

FIELDS = (
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: en-US,en;q=0.9",
)
"""Of a browser; Host makes twelve."""
COOKIE = "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark"
UNIQUE_QUERY = """
local count = 0
request = function()
  count = count + 1
  return wrk.format("GET", "/?n=" .. count)
end
"""
UNKNOWN_COUNT = 10
UNKNOWN_NAMES = f"""
local count = 0
request = function()
  count = count + 1
  local fields = {{}}
  for i = 1, {UNKNOWN_COUNT} do fields["X-Unknown-" .. i] = i .. "-" .. count end
  return wrk.format("GET", "/", fields)
end
"""
"""Fields that no cache knows: each value is another one."""
PIPELINED = """
local batch
init = function(args)
  local all = {}
  for i = 1, 16 do all[i] = wrk.format("GET", "/") end
  batch = table.concat(all)
end
request = function() return batch end
"""
ITEM = '{\\"name\\":\\"item\\",\\"price\\":1234}'
POST_1_KB = f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = "{{\\"items\\":[{",".join([ITEM] * 34)}]}}"
"""


def ask(
    path: str = "/",
    *,
    fields: Sequence[str] = (),
    script: str = "",
    connections: int = 64,
    core: int = LOAD_CORE,
) -> Callable[[Served, float], Load]:
    """Load by wrk; every request must be answered well.

    Args:
        path: What is asked for.
        fields: Further fields of the requests.
        script: Of wrk, in Lua.
        connections: How many.
        core: That wrk runs on. A write to a client that sleeps on another core pays
            for waking it; a server is not charged for that where they share a core.
    """

    def load(served: Served, span_s: float) -> Load:
        raise_descriptor_limit()
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            seen = run_wrk(
                served.port,
                core=core,
                connections=connections,
                duration_s=span_s,
                path=path,
                fields=fields,
                script=Path(file.name) if script else None,
            )
        if seen.error_count > connections:  # those of the end are cut
            raise RuntimeError(f"{path}: {seen.error_count} requests failed")
        if not seen.request_count:
            raise RuntimeError(f"{path}: nothing was answered within the round")
        return seen

    return load


def us_per_request(load: Callable[[Served, float], Load]) -> Measure:
    """CPU microseconds of the server for one request."""

    def measure(served: Served, span_s: float) -> float:
        before_s = served.cpu_s()
        count = load(served, span_s).request_count
        return (served.cpu_s() - before_s) * 1e6 / count

    return measure


def us_per_field(served: Served, span_s: float) -> float:
    """CPU microseconds for a field of an unknown name, beside the request without."""
    plain_us = us_per_request(ask())(served, span_s)
    whole_us = us_per_request(ask(script=UNKNOWN_NAMES))(served, span_s)
    return (whole_us - plain_us) / UNKNOWN_COUNT


def p99_ms(load: Callable[[Served, float], Load]) -> Measure:
    """The 99th percentile of the latency, milliseconds."""
    return lambda served, span_s: load(served, span_s).p99_ms


def cpu_per_gib(size: int, core: int) -> Measure:
    """CPU seconds of the server for a GiB of one download.

    Args:
        size: Octets of it.
        core: Of the client. On another core than the server's each piece may wake
            a client that sleeps; on the same the server runs until it must wait.
    """

    def measure(served: Served, span_s: float) -> float:
        before_s = served.cpu_s()
        with running_on(core):
            fetch_whole(served.port, f"/send?{size}", size, is_tls=served.is_tls)
        return (served.cpu_s() - before_s) * GIB / size

    return measure


def us_per_event(clients: int) -> Measure:
    """CPU microseconds for a server-sent event, with so many who listen."""

    def measure(served: Served, span_s: float) -> float:
        raise_descriptor_limit()
        with running_on(LOAD_CORE), listening(served.port, clients) as selector:
            count_events(selector, 1.0)  # all have begun
            before_s = served.cpu_s()
            count = count_events(selector, span_s)
            if not count:
                raise RuntimeError("no event came within the round")
            return (served.cpu_s() - before_s) * 1e6 / count

    return measure


@contextlib.contextmanager
def listening(port: int, clients: int) -> Iterator[selectors.EpollSelector]:
    """Connections that have asked for events."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.EpollSelector())
        for _ in range(clients):
            sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
            stack.enter_context(sock)
            sock.sendall(b"GET /events HTTP/1.1\r\nHost: bench\r\n\r\n")
            selector.register(sock.fileno(), selectors.EVENT_READ)
        yield selector


def count_events(selector: selectors.EpollSelector, span_s: float) -> int:
    """Read for so long; return how many events came."""
    ends_at = time.monotonic() + span_s
    count = 0
    while (left_s := ends_at - time.monotonic()) > 0:
        for key, _ in selector.select(left_s):
            count += os.read(key.fd, 65536).count(b"data: ")
    return count


def us_per_echo(served: Served, span_s: float) -> float:
    """CPU microseconds for a WebSocket message; client and server share a core."""
    with running_on(SERVER_CORE):
        return us_per_message(served, span_s)


def reload_s(served: Served, span_s: float) -> float:
    """Seconds that a reload takes under load, as ``reload --wait`` says.

    A connection for each request: who keeps its connection says nothing to a new
    worker before the old one drains.
    """
    control = ["--control", str(served.folder / "control")]
    command = [program("blazeio-supervisor"), "reload", "--wait", "--json", *control]
    load = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c16", "-d30s"]
    with subprocess.Popen(
        [*load, "-HConnection: close", f"http://127.0.0.1:{served.port}/"],
        stdout=subprocess.DEVNULL,
    ) as process:
        answer = subprocess.run(command, check=True, capture_output=True).stdout
        process.terminate()
    return float(json.loads(answer)["took_s"])


def percent_of_a_core(served: Served, span_s: float) -> float:
    """CPU of a server that nobody asks."""
    before_s = served.cpu_s()
    time.sleep(span_s)
    return (served.cpu_s() - before_s) * 100 / span_s


@contextlib.contextmanager
def running_on(core: int) -> Iterator[None]:
    """Have this process run on one core meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bind_span(measure: Measure, served: Served, span_s: float) -> Callable[[], float]:
    """Make one round of it."""
    return partial(measure, served, span_s)
