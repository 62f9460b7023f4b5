"""Counts the responses of a worker by their route.

It runs only where new code may be taken back for its errors.
"""

import re
from typing import TYPE_CHECKING

from blazeio_supervisor.ipc.route_table import (
    FAILING_COUNT,
    RouteTallies,
    make_key,
)

if TYPE_CHECKING:
    from blazeio.protocol.request import BlazeioServerProtocol

ROUTE_COUNT = 1_000
"""Routes that are told apart, and paths whose route is remembered."""
_PATH_CHARS = 200
_VALUE = re.compile(r"[0-9]|.{33}")
"""What is found in a part of a path that is a value, and no name."""


class _Route:
    """What is known of one route.

    Attributes:
        key: In the row.
        answered_at: Where its good answers are counted; None: there is no room.
        failed: How often it has failed.
        text: How its failures are named; "" before the first.
        failing_at: Its place among those that fail most; None: it has none.
    """

    __slots__ = ("answered_at", "failed", "failing_at", "key", "text")

    def __init__(self, key: int) -> None:
        self.key = key
        self.answered_at: int | None = None
        self.failed = 0
        self.text = ""
        self.failing_at: int | None = None


class RouteCounter:
    """Counts by route which responses are good, and which are errors, in the row.

    It is there only where a reload may be rolled back for errors.

    Args:
        table: Of this worker's row.
    """

    __slots__ = ("_by_path", "_failing", "_routes", "_table")

    def __init__(self, table: RouteTallies) -> None:
        self._table = table
        self._routes: dict[int, _Route] = {}
        self._by_path: dict[tuple[str, str], _Route] = {}
        self._failing: list[_Route] = []

    def record(self, r: "BlazeioServerProtocol") -> None:
        """Count a response that is over; what the client did wrong is neither."""
        status = r.response.status
        if status < 200 or 400 <= status < 500:
            return
        route = self._by_path.get((r.method, r.path)) or self._find(r)
        if status >= 500:
            self._count_failure(route, r)
        elif route.answered_at is not None:
            self._table.count_answered(route.answered_at)

    def close(self) -> None:
        """Count nothing more."""

    def _find(self, r: "BlazeioServerProtocol") -> _Route:
        """Find the route of a request whose path is a new one."""
        path = r.route or generalize(r.path)
        key = make_key(r.method, path)
        route = self._routes.get(key)
        if route is None:
            route = _Route(key)
            if len(self._routes) < ROUTE_COUNT:
                self._routes[key] = route
                route.answered_at = self._table.add_answered(key)
        if len(self._by_path) >= ROUTE_COUNT:
            self._by_path.clear()
        self._by_path[r.method, r.path] = route
        return route

    def _count_failure(self, route: _Route, r: "BlazeioServerProtocol") -> None:
        route.failed += 1
        if not route.text:
            handler = r.context.name_handler(r.method, r.path)
            route.text = f"{r.method} {r.route or r.path} in {handler}"
        if route.failing_at is None:
            self._give_place(route)
        if route.failing_at is not None:
            self._table.write_failing(
                route.failing_at, route.key, route.failed, route.text
            )

    def _give_place(self, route: _Route) -> None:
        """Give a route a place, if need be that of one that fails less."""
        if len(self._failing) < FAILING_COUNT:
            route.failing_at = len(self._failing)
            self._failing.append(route)
            return
        least = min(self._failing, key=lambda each: each.failed)
        if least.failed < route.failed:
            route.failing_at, least.failing_at = least.failing_at, None
            self._failing[self._failing.index(least)] = route


def generalize(path: str) -> str:
    """Return what stands for a path where the app says no routes: ``/users/*``."""
    parts = path[:_PATH_CHARS].split("/")
    return "/".join("*" if _VALUE.search(part) else part for part in parts)
