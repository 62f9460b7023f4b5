"""The tables in the row of a worker: the metrics of its app, and its routes.

Behind the first page of a row lie the cells of one worker's metrics, then a text
that says what they are: one line of JSON for each family, and one for each series
with the place of its cells. Lines are only added, and how far they go is written
last. So whoever maps the row can read it at any time, also when the worker was
killed a moment ago; and nothing of it was ever touched in a worker whose app has no
metrics.

A worker runs foreign code: what is read here is checked like everything in a row.
"""

import math
import struct
from collections.abc import Callable
from threading import Lock
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from blazeio.app.metric_series import (
    CELL_COUNT,
    VALUE_CHARS,
    Combine,
    MetricFamily,
    check_family,
    describe_full,
)
from blazeio.errors import ConfigurationError

TEXT_BYTES = 512 * 1024
"""Room for the texts that describe the metrics of one worker."""
REGION_BYTES = CELL_COUNT * 8 + TEXT_BYTES
"""The metrics in one worker's row. Pages that are never used cost no memory."""
TOTAL_CELL_COUNT = 4 * CELL_COUNT
"""Cells of the sums over dead workers: code that was changed by reloads may have had
other metrics each time. What goes beyond is counted as dropped."""
MOST = 2.0**53
"""What a counter may hold; up to here whole numbers are exact."""

Values = tuple[str, ...]


class SeriesPlace(Struct, frozen=True, array_like=True):
    """Where the cells of a series are: a line of the text.

    Attributes:
        family: The place of its family among the families of the text.
        values: One for each label.
        at: The place of its first cell.
    """

    family: int
    values: Values
    at: int


_family_decoder = msgspec.json.Decoder(MetricFamily)
_place_decoder = msgspec.json.Decoder(SeriesPlace)


class AppRegion:
    """The part of a row that holds the metrics of the app.

    Args:
        octets: The part of the memory.
        extent: One cell of the row: how many octets of the text are written.
    """

    __slots__ = ("_extent", "_octets", "cells", "text")

    def __init__(self, octets: memoryview, extent: "memoryview[float]") -> None:
        self._octets = octets
        self._extent = extent
        self.cells = octets[: CELL_COUNT * 8].cast("d")
        self.text = octets[CELL_COUNT * 8 :]

    @property
    def extent(self) -> float:
        """How many octets of the text are written; unchecked."""
        return self._extent[0]

    @extent.setter
    def extent(self, count: float) -> None:
        self._extent[0] = count

    def close(self) -> None:
        """Release the views of the memory."""
        for view in (self.cells, self.text, self._octets, self._extent):
            view.release()


class RowCells:
    """The worker's side: a ``CellStore`` of ``blazeio``.

    Args:
        region: Of this worker's row; nothing is in it yet.
    """

    def __init__(self, region: AppRegion) -> None:
        self._region = region
        self._used = 0
        self._families: dict[str, tuple[int, MetricFamily]] = {}
        self._lock = Lock()  # series are made by any thread

    @property
    def cells(self) -> "memoryview[float]":
        """All cells."""
        return self._region.cells

    def add(self, family: MetricFamily, values: Values) -> int:
        """Take cells, and write what they are.

        Raises:
            ConfigurationError: There is no room for it.
        """
        with self._lock:
            if family.name not in self._families:
                self._write(family.name, family)
                self._families[family.name] = len(self._families), family
            index, declared = self._families[family.name]
            if not _is_same(declared, family):
                text = "is declared twice, in different ways"
                raise ConfigurationError(f"metric {family.name!r} {text}")
            first, used = self._used, self._used + family.cell_count
            if used > CELL_COUNT:
                raise ConfigurationError(describe_full(family.name, CELL_COUNT))
            # Surrogates of a broken text are no Unicode.
            texts = tuple(v.encode("utf-8", "replace").decode() for v in values)
            self._write(family.name, SeriesPlace(index, texts, first))
            self._used = used
            return first

    def _write(self, name: str, described: MetricFamily | SeriesPlace) -> None:
        at, line = int(self._region.extent), msgspec.json.encode(described) + b"\n"
        if at + len(line) > TEXT_BYTES:
            text = f"metric {name!r}: the names and labels of all series together"
            raise ConfigurationError(f"{text} have more than {TEXT_BYTES:,} octets")
        self._region.text[at : at + len(line)] = line
        self._region.extent = at + len(line)  # only now it is there


class RegionReader:
    """The master's side of one row.

    Args:
        region: Of the row.

    Attributes:
        fault: What no worker of ours writes, once that was read; "" at first.
    """

    __slots__ = ("_families", "_places", "_read_bytes", "_region", "fault")

    def __init__(self, region: AppRegion) -> None:
        self._region = region
        self._read_bytes = 0
        self._families: list[MetricFamily] = []
        self._places: list[SeriesPlace] = []
        self.fault = ""

    def read(self) -> list[tuple[MetricFamily, Values, list[float]]]:
        """Return each series with its cells."""
        if self._region.extent != self._read_bytes and not self.fault:
            try:
                self._read_text(self._region.extent)
            except (
                msgspec.MsgspecError,
                ValueError,
                LookupError,
                ConfigurationError,
            ) as error:
                self.fault = f"its metrics cannot be read: {str(error)[:200]}"
        cells = self._region.cells
        series = []
        for place in self._places:
            family = self._families[place.family]
            own = list(cells[place.at : place.at + family.cell_count])
            series.append((family, place.values, _check_cells(family, own)))
        return series

    def _read_text(self, extent: float) -> None:
        if not self._read_bytes < extent <= TEXT_BYTES:
            message = f"{extent!r} octets of them, after {self._read_bytes}"
            raise ValueError(message)
        text = bytes(self._region.text[self._read_bytes : int(extent)])
        self._read_bytes = int(extent)
        for line in text.splitlines():
            if line.startswith(b"{"):
                family = _family_decoder.decode(line)
                check_family(family)
                self._families.append(family)
            else:
                self._places.append(self._check(_place_decoder.decode(line)))

    def _check(self, place: SeriesPlace) -> SeriesPlace:
        family = self._families[place.family] if place.family >= 0 else None
        if (
            family is None
            or len(place.values) != len(family.label_names)
            or not 0 <= place.at <= CELL_COUNT - family.cell_count
            or any(len(value) > VALUE_CHARS for value in place.values)
        ):
            message = f"{place!r:.100} is nowhere"
            raise ValueError(message)
        return place


def _check_cells(family: MetricFamily, cells: list[float]) -> list[float]:
    """Read what a counter cannot be as 0; a gauge may be anything."""
    if family.kind == "gauge":
        return cells
    checked = [each if 0.0 <= each <= MOST else 0.0 for each in cells]
    # The first cell of the others is a sum: of negative values it is below 0.
    if family.kind != "counter" and math.isfinite(cells[0]):
        checked[0] = cells[0]
    return checked


class FamilyTotal(Struct):
    """A metric over several workers.

    Attributes:
        family: As the newest worker has declared it.
        worker: The serial number of that worker.
        series: By label values, the cells of each.
    """

    family: MetricFamily
    worker: int
    series: dict[Values, list[float]] = field(default_factory=dict)


class AppTotals(Struct):
    """The metrics of the app over several workers.

    Attributes:
        families: By name.
        cell_count: Cells of all of them.
        dropped: Series that had no room.
    """

    families: dict[str, FamilyTotal] = field(default_factory=dict)
    cell_count: int = 0
    dropped: int = 0

    def copy(self) -> "AppTotals":
        """Return one that can be added to on its own."""
        families = {
            # The cells of a series are replaced, and never changed in place.
            name: replace(each, series=each.series.copy())
            for name, each in self.families.items()
        }
        return AppTotals(families, self.cell_count, self.dropped)

    def add(self, reader: RegionReader, worker: int, slot: int | None) -> None:
        """Add what one worker has.

        Where two workers have declared the same metric in different ways, that of the
        newer one counts.

        Args:
            reader: Of its row.
            worker: Its serial number.
            slot: Of a worker that lives; None: it is dead, and its gauges with it.
        """
        for family, values, cells in reader.read():
            if family.kind == "gauge":
                if slot is None:
                    continue
                if family.combine == "slot":
                    values = (*values, str(slot))
            self._add_series(family, worker, values, cells)

    def _add_series(
        self, family: MetricFamily, worker: int, values: Values, cells: list[float]
    ) -> None:
        total = self.families.get(family.name)
        if total is None or not _is_same(total.family, family):
            if total is not None and total.worker > worker:
                return
            if total is not None:
                self.cell_count -= sum(map(len, total.series.values()))
            total = self.families[family.name] = FamilyTotal(family, worker)
        if worker >= total.worker:
            total.family, total.worker = family, worker
        before = total.series.get(values)
        if before is None:
            if self.cell_count + len(cells) > TOTAL_CELL_COUNT:
                self.dropped += 1
                return
            self.cell_count += len(cells)
            total.series[values] = cells
        elif family.kind == "gauge":
            total.series[values] = _combine(family.combine, before, cells)
        else:
            total.series[values] = [a + b for a, b in zip(before, cells, strict=True)]


def _is_same(a: MetricFamily, b: MetricFamily) -> bool:
    """Whether the values of both can be added up."""
    return replace(a, help="") == replace(b, help="")


def _combine(how: Combine, a: list[float], b: list[float]) -> list[float]:
    if how == "latest":
        return b if b[1] >= a[1] else a
    if how == "slot":
        return b  # the worker that takes the place of the other
    choose: Any = {"sum": sum, "max": max, "min": min}[how]
    return [choose((a[0], b[0]))]


# How each route is answered.
#
# A worker counts it only where new code may be taken back for its errors: then it can
# be said which routes fail that have answered before. Two tables of a fixed size::
#
#     answered  key, count          of the first ANSWERED_COUNT routes that answer well
#     failing   key, count, text    of the FAILING_COUNT routes that fail most
#
# The key of a route is made of its method and path, so that it is the same in every
# process, of old code and of new. What has no room is not counted.


ANSWERED_COUNT = 56
"""Routes whose good answers are counted."""
FAILING_COUNT = 5
"""Routes whose errors are counted."""
ROUTE_TEXT_BYTES = 144
"""Of the text that says which route fails; a longer one is cut."""
_ANSWERED = struct.Struct("dd")
_FAILING = struct.Struct(f"dd{ROUTE_TEXT_BYTES}s")
_FAILING_AT = ANSWERED_COUNT * _ANSWERED.size
ROUTES_BYTES = _FAILING_AT + FAILING_COUNT * _FAILING.size
"""Of both tables."""


class RouteReading(Struct, frozen=True):
    """One route of one worker.

    Attributes:
        key: As of ``make_key``.
        answered: Responses with a status below 400.
        failed: Those with a status of 500 or above.
        text: Which route it is; "" where none is in the table of those that fail.
    """

    key: int
    answered: int = 0
    failed: int = 0
    text: str = ""


def make_key(method: str, path: str) -> int:
    """Make the key of a route; never 0, which stands for none."""
    return crc32(f"{method} {path}".encode("utf-8", "replace")) + 1


class RouteTallies:
    """Both tables, as their writer or their reader.

    Args:
        octets: Where they are, ``ROUTES_BYTES`` of them.
    """

    __slots__ = ("_cells", "_count", "_octets")

    def __init__(self, octets: memoryview) -> None:
        self._octets = octets
        self._cells = octets.cast("d")
        self._count = 0

    def release(self) -> None:
        """Let go of the memory."""
        self._cells.release()
        self._octets.release()

    def add_answered(self, key: int) -> int | None:
        """Give a route a place for its good answers; None: there is no room."""
        if self._count == ANSWERED_COUNT:
            return None
        place = 2 * self._count
        self._count += 1
        self._cells[place] = key
        return place + 1

    def count_answered(self, place: int) -> None:
        """Count a good answer of the route with this place."""
        self._cells[place] += 1.0

    def write_failing(self, place: int, key: int, count: int, text: str) -> None:
        """Write how often a route has failed.

        Args:
            place: Below ``FAILING_COUNT``.
            key: Of the route.
            count: How often.
            text: Which route it is.
        """
        octets = text.encode("utf-8", "replace")
        at = _FAILING_AT + place * _FAILING.size
        _FAILING.pack_into(self._octets, at, key, count, octets)

    def read(self, check: Callable[[float], float]) -> list[RouteReading]:
        """Read all routes that are counted.

        Args:
            check: Returns a value that a worker can mean, or 0.
        """
        answered = {
            int(check(key)): int(check(count))
            for key, count in _ANSWERED.iter_unpack(self._octets[:_FAILING_AT])
            if key
        }
        failing = {
            int(check(key)): (int(check(count)), octets)
            for key, count, octets in _FAILING.iter_unpack(self._octets[_FAILING_AT:])
            if key
        }
        found = []
        for key in answered.keys() | failing.keys():
            count, octets = failing.get(key, (0, b""))
            text = octets.rstrip(b"\0").decode("utf-8", "replace")
            found.append(RouteReading(key, answered.get(key, 0), count, text))
        return found
