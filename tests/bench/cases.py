"""The table of cases, each with the bar that it is held to."""

from dataclasses import dataclass

from tests.bench.measures import (
    COOKIE,
    FIELDS,
    LOAD_CORE,
    PIPELINED,
    POST_1_KB,
    SERVER_CORE,
    UNIQUE_QUERY,
    Measure,
    ask,
    cpu_per_gib,
    p99_ms,
    percent_of_a_core,
    reload_s,
    us_per_echo,
    us_per_event,
    us_per_field,
    us_per_request,
)

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes:
        name: As ``--only`` takes it.
        unit: Of the figure.
        measure: What is measured.
        bar: The ratio of ours to the base must be at most this; of a case without
            a base the figure itself.
        base: The server that ours is divided by; "" for none.
        ours: The server that the bar is for.
        peers: Others that are shown beside.
        peer_bar: The ratio of ours to the first of the peers must be at most this;
            None: it is only shown.
    """

    name: str
    unit: str
    measure: Measure
    bar: float
    base: str = "nginx"
    ours: str = "blazeio"
    peers: tuple[str, ...] = ()
    peer_bar: float | None = None

    @property
    def servers(self) -> tuple[str, ...]:
        """All that are measured, ours first."""
        base = (self.base,) if self.base else ()
        return (self.ours, *base, *self.peers)


PYTHONS = ("granian-rsgi", "granian-asgi", "uvicorn")
HELLO = us_per_request(ask())
CASES = (
    Case(
        "hello",
        "us",
        HELLO,
        1.65,
        peers=("floor", "fastpysgi", *PYTHONS),
    ),
    Case("alone", "us", us_per_request(ask(connections=1)), 1.65, peers=PYTHONS),
    Case("supervised", "us", HELLO, 1.03, base="blazeio", ours="supervised"),
    Case("observed", "us", HELLO, 1.20, base="blazeio", ours="observed"),
    Case("12-fields", "us", us_per_request(ask(fields=FIELDS)), 1.65, peers=PYTHONS),
    Case(
        "cookie",
        "us",
        us_per_request(ask(fields=(*FIELDS, COOKIE))),
        2.0,
        peers=PYTHONS,
    ),
    Case("query", "us", us_per_request(ask(script=UNIQUE_QUERY)), 1.8, peers=PYTHONS),
    Case("unknown-names", "us", us_per_field, 0.5, base=""),
    Case(
        "parameters", "us", us_per_request(ask("/users/7/posts/9")), 2.1, peers=PYTHONS
    ),
    Case("1000", "us", us_per_request(ask(connections=1000)), 1.9),
    Case("5000", "us", us_per_request(ask(connections=5000)), 2.0),
    Case(
        "post",
        "us",
        us_per_request(ask("/orders", script=POST_1_KB)),
        0.6,
        base="granian-rsgi",
        peers=("uvicorn",),
    ),
    Case("memory", "us", us_per_request(ask("/small.bin")), 1.7),
    Case("static", "us", us_per_request(ask("/folder/small.bin")), 1.7),
    Case(
        "close",
        "us",
        us_per_request(ask(fields=("Connection: close",))),
        1.9,
        peers=PYTHONS,
    ),
    Case(
        "pipelined",
        "us",
        us_per_request(ask(script=PIPELINED)),
        2.5,
        peers=("uvicorn",),
    ),
    Case(
        "download",
        "s/GiB",
        cpu_per_gib(512 * MIB, LOAD_CORE),
        1.0,
        base="uvicorn",
        peers=("granian-asgi", "nginx"),
    ),
    Case(
        "download-same-core",
        "s/GiB",
        cpu_per_gib(512 * MIB, SERVER_CORE),
        1.0,
        base="uvicorn",
        peers=("granian-asgi", "nginx"),
    ),
    Case(
        "tls-download",
        "s/GiB",
        cpu_per_gib(128 * MIB, LOAD_CORE),
        1.0,
        base="uvicorn-tls",
        ours="blazeio-tls",
        peers=("granian-tls", "nginx-tls"),
    ),
    Case(
        "events", "us", us_per_event(1000), 0.9, base="uvicorn", peers=("granian-asgi",)
    ),
    Case(
        "websocket",
        "us",
        us_per_echo,
        1.1,
        base="picows",
        peers=("uvicorn", "floor-echo"),
    ),
    Case("p99", "ms", p99_ms(ask(connections=1000)), 0.4, base="untuned"),
    Case("reload", "s", reload_s, 0.6, base="", ours="4-workers"),
    Case("idle-64", "%", percent_of_a_core, 2.0, base="", ours="64-workers"),
)
