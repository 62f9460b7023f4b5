"""The cases whose figure is not that of one server after the other."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from tests.bench.client import measure, nginx_with_a_file
from tests.bench.instructions import MissingValgrindError, count_instructions
from tests.bench.serving import serving

SERVER_CORE = 0
REQUESTS = 16_000
COUNT_TIMEOUT_S = 1200
"""Under valgrind ten thousand routes take their time to be declared."""
Takers = Mapping[str, Callable[[], float]]
"""By what is measured, a function that makes one round of it."""
Prepare = Callable[[], contextlib.AbstractContextManager[Takers]]


@dataclass(frozen=True, slots=True)
class OtherCase:
    """One line of the table; attributes as of ``Case``.

    Attributes:
        prepare: Has the functions that make a round, while its block runs.
    """

    name: str
    unit: str
    prepare: Prepare
    bar: float
    ours: str
    base: str
    peers: tuple[str, ...] = ()
    peer_bar: float | None = None


@contextlib.contextmanager
def _asking() -> Iterator[Takers]:
    """CPU microseconds of a client for a GET of nginx, on a kept connection."""
    with serving(nginx_with_a_file(1), SERVER_CORE) as served:
        url = f"http://127.0.0.1:{served.port}/"

        def ask(name: str) -> Callable[[], float]:
            return lambda: measure(name, "small", url, REQUESTS)[0] * 1e6 / REQUESTS

        yield {name: ask(name) for name in ("blazeio", "aiohttp")}


def _counting(few: str, many: str) -> Prepare:
    """Instructions a request; they are the same in each round, and counted once."""

    @cache
    def count() -> dict[str, int]:
        try:
            return count_instructions([few, many], COUNT_TIMEOUT_S)
        except MissingValgrindError as error:
            raise RuntimeError(str(error)) from None

    @contextlib.contextmanager
    def prepare() -> Iterator[Takers]:
        yield {many: lambda: count()[many], few: lambda: count()[few]}

    return prepare


def _growth(name: str, kind: str) -> OtherCase:
    few, many = f"10 {kind}", f"10000 {kind}"
    return OtherCase(name, "instr.", _counting(few, many), 1.03, many, few)


OTHER_CASES = (
    OtherCase("client", "us", _asking, 0.17, "blazeio", "aiohttp"),
    _growth("routes", "routes"),
    _growth("patterns", "patterns"),
)
