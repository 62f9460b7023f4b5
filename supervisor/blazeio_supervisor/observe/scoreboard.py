"""What every worker says of itself, in one memory that all can see.

A memfd of fixed size, sealed: without the seals app code in a worker could
shrink it, and the master's next read would be a SIGBUS. A row belongs to one
worker's life and has one writer; the master folds a dead row into its slot's
totals and uses the row again. (One row per slot had two writers during a
reload and lost half of the counts.)

Cells are floats of 8 octets, aligned, written whole, so a reader never sees half
of one. Two cells of a row may be of different moments. Behind the cells stands
the request that has been in flight for longest, as text.
"""

import fcntl
import mmap
import os
from bisect import bisect_left

import msgspec
from msgspec import Struct

from blazeio_supervisor.observe.tally import (
    CELL_COUNT,
    LAG,
    LAG_EDGES_S,
    REQUESTS,
    Tally,
)

ROW_BYTES = 2048
ROW_COUNT = 1024
LONGEST_BYTES = 256
"""Of the text; a longer one is cut."""
_BOARD_BYTES = ROW_BYTES * ROW_COUNT
_TEXT_AT = ROW_BYTES - LONGEST_BYTES

# Cells that say how things are.
_BEAT_AT = 0
_LAG_S = 1
_IN_FLIGHT = 2
_CONNECTIONS = 3
_IS_FULL = 4
_LONGEST_SINCE = 5
# Then those that only grow.
_COUNTED = 16


class Reading(Struct, frozen=True):
    """One look at how a worker is.

    Attributes:
        beat_at: Monotonic seconds of the last beat; 0.0 before the first.
        lag_s: How late the loop ran, smoothed, seconds.
        requests: Begun in its life.
    """

    beat_at: float
    lag_s: float
    in_flight: int
    connections: int
    requests: int
    is_full: bool


class LongestRequest(Struct, frozen=True):
    """The request that has been in flight for longest.

    Attributes:
        text: Method and path, without the query.
        begun_at: Monotonic seconds.
    """

    text: str
    begun_at: float


def make_board() -> int:
    """Make the memory; gives its descriptor, which is not inherited."""
    fd = os.memfd_create("blazeio-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, _BOARD_BYTES)  # sparse: rows never used cost nothing
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Row:
    """One worker's row, as its writer or its reader.

    Attributes:
        index: Of the row.
        counted: The cells that only grow, in the order of ``tally``.
    """

    __slots__ = ("_cells", "_octets", "counted", "index")

    def __init__(self, board: mmap.mmap, index: int) -> None:
        start = index * ROW_BYTES
        self.index = index
        self._octets = memoryview(board)[start : start + ROW_BYTES]
        self._cells = self._octets[:_TEXT_AT].cast("d")
        self.counted = self._cells[_COUNTED : _COUNTED + CELL_COUNT]

    def beat(self, at: float, late_s: float) -> None:
        """Say that the loop runs, and how late this beat comes."""
        cells, counted = self._cells, self.counted
        cells[_LAG_S] += (late_s - cells[_LAG_S]) / 2
        counted[LAG] += late_s
        counted[LAG + bisect_left(LAG_EDGES_S, late_s)] += 1
        cells[_BEAT_AT] = at

    def count(
        self, in_flight: int, connections: int, requests: int, is_full: bool = False
    ) -> None:
        """Say what the worker does."""
        cells = self._cells
        cells[_IN_FLIGHT] = in_flight
        cells[_CONNECTIONS] = connections
        cells[_IS_FULL] = is_full
        self.counted[REQUESTS] = requests

    def name_longest(self, longest: LongestRequest | None) -> None:
        """Say which request has been in flight for longest; None: there is none."""
        self._cells[_LONGEST_SINCE] = 0.0
        if longest is not None:
            octets = longest.text.encode("utf-8", "replace")[:LONGEST_BYTES]
            self._octets[_TEXT_AT:] = octets.ljust(LONGEST_BYTES, b"\0")
            self._cells[_LONGEST_SINCE] = longest.begun_at

    def read(self) -> Reading:
        """Look at it."""
        cells = self._cells
        return Reading(
            beat_at=cells[_BEAT_AT],
            lag_s=cells[_LAG_S],
            in_flight=int(cells[_IN_FLIGHT]),
            connections=int(cells[_CONNECTIONS]),
            requests=int(self.counted[REQUESTS]),
            is_full=bool(cells[_IS_FULL]),
        )

    def read_tally(self) -> Tally:
        """Look at what was counted."""
        return Tally(tuple(self.counted))

    def read_longest(self) -> LongestRequest | None:
        """Look at the request that has been in flight for longest."""
        since = self._cells[_LONGEST_SINCE]
        if not since:
            return None
        octets = bytes(self._octets[_TEXT_AT:]).rstrip(b"\0")
        return LongestRequest(octets.decode("utf-8", "replace"), since)

    def clear(self) -> None:
        """Make it blank for the next life."""
        self._octets[:] = bytes(ROW_BYTES)


class Scoreboard:
    """The memory, mapped.

    Args:
        fd: From ``make_board``; this object maps it and needs it no longer.
    """

    def __init__(self, fd: int) -> None:
        self._board = mmap.mmap(fd, _BOARD_BYTES)

    def row(self, index: int) -> Row:
        """Give a row by its index."""
        return Row(self._board, index)


class FrozenLedger(msgspec.Struct, frozen=True):
    """A ledger, as the next image of the master takes it over.

    Attributes:
        past: By slot, what its earlier workers have counted.
    """

    free: list[int]
    past: dict[int, Tally]


class RowLedger:
    """The master's side: who has which row, and what the dead ones counted.

    Args:
        board: The mapped memory.

    Attributes:
        past: By slot, what its earlier workers have counted.
    """

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._free = list(range(ROW_COUNT - 1, -1, -1))
        self.past: dict[int, Tally] = {}

    def take(self) -> Row:
        """Give a blank row to a new worker.

        Raises:
            IndexError: All are taken; more workers than a machine runs.
        """
        row = self._board.row(self._free.pop())
        row.clear()
        return row

    def fold(self, row: Row, slot: int) -> None:
        """Add a dead worker's counts to its slot, and free its row."""
        self.past[slot] = self.past.get(slot, Tally()) + row.read_tally()
        self._free.append(row.index)

    def give(self, index: int) -> Row:
        """Give a row that was taken before a thaw, to its old owner."""
        return self._board.row(index)

    def freeze(self) -> FrozenLedger:
        """Give all that it knows; the counts of the living are in the memory."""
        return FrozenLedger(self._free, self.past)

    def thaw(self, frozen: FrozenLedger) -> None:
        """Go on from there, with the same memory."""
        self._free = frozen.free
        self.past = frozen.past
