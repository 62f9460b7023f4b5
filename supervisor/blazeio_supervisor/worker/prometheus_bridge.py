"""``--bridge-prometheus``: the values of ``prometheus_client`` in the worker's row.

``prometheus_client`` makes each of its values of one class, ``values.ValueClass``,
which it replaces itself where several processes write files. Here the class is
replaced before the app is imported: then the counters, gauges, histograms and
summaries of the app and of its libraries lie in cells, as those of ``web.metrics``
do, and are added up over all workers.

What cannot be shared (a name that is declared in two ways, more series than there
is room for) stays in this process, and is logged once: an app must not fail because
its values are watched.
"""

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from blazeio.app.metric_series import (
    HELP_CHARS,
    VALUE_CHARS,
    CellStore,
    Combine,
    MetricFamily,
    check_family,
)
from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger

log = get_logger("blazeio.worker")

_MODULE = "prometheus_client.values"
_COMBINE: dict[str, Combine] = {
    "all": "slot",
    "liveall": "slot",
    "min": "min",
    "livemin": "min",
    "max": "max",
    "livemax": "max",
    "mostrecent": "latest",
    "livemostrecent": "latest",
}
"""By the ``multiprocess_mode`` of a gauge; any other is added up."""


class SharedValue:
    """One value of ``prometheus_client``: it has the methods of its ``MutexValue``."""

    __slots__ = ("_at", "_cells", "_exemplar", "_is_timed", "_value")

    def __init__(self, *, is_timed: bool) -> None:
        self._value = 0.0
        self._cells: Any = [0.0, 0.0]
        self._at = 0
        self._is_timed = is_timed
        self._exemplar: Any = None

    def inc(self, amount: float) -> None:
        """Add an amount; no count of another thread is lost, as in ``Counter``."""
        self._value = self._cells[self._at] = self._value + amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Set the value; ``timestamp`` as ``prometheus_client`` gives it."""
        self._value = self._cells[self._at] = float(value)
        if self._is_timed:
            self._cells[self._at + 1] = timestamp or time.time()

    def get(self) -> float:
        """Return the value in this process."""
        return self._value

    def set_exemplar(self, exemplar: Any) -> None:
        """Keep an exemplar; only this process shows it."""
        self._exemplar = exemplar

    def get_exemplar(self) -> Any:
        """Return the exemplar."""
        return self._exemplar

    def move(self, cells: Any, at: int, *, keeps: bool) -> None:
        """Go on in other cells, with the value or from what is in them."""
        if keeps:
            cells[at] = self._value
            if self._is_timed:
                cells[at + 1] = self._cells[self._at + 1]
        self._value = cells[at]
        self._cells, self._at = cells, at


class _Group:
    """The values of one series: several of a histogram or a summary.

    Attributes:
        ends: Of a histogram: the bounds as texts, once they are known.
        at: The place of its first cell; None: it has none in the store.
    """

    def __init__(self, family: MetricFamily, values: tuple[str, ...]) -> None:
        self.family = family
        self.values = values
        self.ends: list[str] = []
        self.members: dict[int, SharedValue] = {}
        self.at: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of its values were made."""
        if self.family.kind == "histogram":
            return self.ends[-1:] == ["+Inf"]
        return len(self.members) == (2 if self.family.kind == "summary" else 1)

    def take(self, name: str, labelvalues: tuple[str, ...], value: SharedValue) -> int:
        """Put a value at its place among the cells; return that."""
        offset = 0
        if name.endswith("_bucket"):
            end = labelvalues[-1]
            if end not in self.ends:
                self.ends.append(end)
                bounds = tuple(float(e) for e in self.ends if e != "+Inf")
                self.family = replace(self.family, bounds=bounds)
            offset = 1 + self.ends.index(end)
        elif name.endswith("_count") and self.family.kind == "summary":
            offset = 1
        self.members[offset] = value
        return offset

    def place(self, store: CellStore) -> None:
        """Take cells for all of them.

        Raises:
            ConfigurationError: There is no room, or the metric cannot be shared.
        """
        check_family(self.family)
        if any(len(value) > VALUE_CHARS for value in self.values):
            message = f"metric {self.family.name!r}: a label of {VALUE_CHARS} or more"
            raise ConfigurationError(message)
        self.at = store.add(self.family, self.values)
        keeps = self.family.kind == "gauge"  # it may be set by the import
        for offset, member in self.members.items():
            member.move(store.cells, self.at + offset, keeps=keeps)


class PrometheusBridge:
    """All values of ``prometheus_client`` in this process."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, tuple[str, ...]], _Group] = {}
        self._store: CellStore | None = None
        self._lock = threading.Lock()
        self._is_refused = False

    def make(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Any,
        labelvalues: Any,
        help_text: str,
        multiprocess_mode: str = "",
        **_: Any,
    ) -> SharedValue:
        """Make a value; called in the place of ``ValueClass``, with its arguments."""
        combine = _COMBINE.get(multiprocess_mode, "sum")
        value = SharedValue(is_timed=combine == "latest")
        if typ not in ("counter", "gauge", "summary", "histogram"):
            return value
        names, values = tuple(labelnames), tuple(map(str, labelvalues))
        own = (names, values)
        if name.endswith("_bucket") and typ == "histogram":
            own = (names[:-1], values[:-1])
        text = help_text[:HELP_CHARS]
        family = MetricFamily(metric_name, typ, text, own[0], combine=combine)  # type: ignore[arg-type]
        with self._lock:
            self._add(family, own[1], name, values, value)
        return value

    def _add(
        self,
        family: MetricFamily,
        values: tuple[str, ...],
        name: str,
        labelvalues: tuple[str, ...],
        value: SharedValue,
    ) -> None:
        group = self._groups.get((family.name, values))
        if group is None:
            group = self._groups[family.name, values] = _Group(family, values)
        offset = group.take(name, labelvalues, value)
        if self._store is None:
            return
        if group.at is not None:  # a series that was removed, and comes again
            value.move(self._store.cells, group.at + offset, keeps=False)
        elif group.is_whole:
            self._place(group, self._store)

    def move(self, store: CellStore) -> None:
        """Put all values into cells, once the worker serves; later ones follow."""
        with self._lock:
            self._store = store
            for group in self._list_whole():
                self._place(group, store)

    def leave(self) -> None:
        """Let every value be this process's own: it is a child of the worker."""
        self._store = None
        for group in self._groups.values():
            group.at = None
            for member in group.members.values():
                member.move([member.get(), 0.0], 0, keeps=True)

    def _list_whole(self) -> Iterator[_Group]:
        return (group for group in self._groups.values() if group.is_whole)

    def _place(self, group: _Group, store: CellStore) -> None:
        try:
            group.place(store)
        except ConfigurationError as error:
            if not self._is_refused:
                self._is_refused = True
                text = "--bridge-prometheus: one is not shared, maybe others: %s"
                log.warning(text, error)


def install_bridge() -> None:
    """Replace the class of values, before the app is imported."""
    module = importlib.import_module(_MODULE)
    bridge = PrometheusBridge()

    class BridgedValue:
        _multiprocess = False
        shared = bridge

        def __new__(cls, *arguments: Any, **options: Any) -> Any:
            return bridge.make(*arguments, **options)

    vars(module)["ValueClass"] = BridgedValue


def find_bridge() -> PrometheusBridge | None:
    """Return the bridge of this process; None: it was not asked for."""
    values = getattr(sys.modules.get(_MODULE), "ValueClass", None)
    found = getattr(values, "shared", None)
    return found if isinstance(found, PrometheusBridge) else None
