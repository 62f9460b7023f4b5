"""What every worker says of itself, in one memory that all can see.

A memfd of fixed size, sealed: without the seals app code in a worker could
shrink it, and the master's next read would be a SIGBUS. A row belongs to one
worker's life and has one writer; the master folds a dead row into its slot's
totals and uses the row again. (One row per slot had two writers during a
reload and lost half of the counts.)

Cells are 8 octets, aligned, written whole, so a reader never sees half of one.
Two cells of a row may be of different moments.
"""

import fcntl
import mmap
import os
from dataclasses import dataclass

import msgspec

ROW_BYTES = 512
ROW_COUNT = 1024
_BOARD_BYTES = ROW_BYTES * ROW_COUNT
_CELLS = ROW_BYTES // 8

# Floating cells.
_BEAT_AT = 0
_LAG_S = 1
# Counting cells.
_IN_FLIGHT = 2
_CONNECTIONS = 3
_REQUESTS = 4
_IS_FULL = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a row.

    Attributes:
        beat_at: Monotonic seconds of the last beat; 0.0 before the first.
        lag_s: How late the loop ran, smoothed, seconds.
    """

    beat_at: float
    lag_s: float
    in_flight: int
    connections: int
    requests: int
    is_full: bool


def make_board() -> int:
    """Make the memory; gives its descriptor, which is not inherited."""
    fd = os.memfd_create("blazeio-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, _BOARD_BYTES)  # sparse: rows never used cost nothing
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Row:
    """One worker's row, as its writer or its reader."""

    __slots__ = ("_counts", "_floats", "index")

    def __init__(self, board: mmap.mmap, index: int) -> None:
        start = index * ROW_BYTES
        octets = memoryview(board)[start : start + ROW_BYTES]
        self.index = index
        self._floats = octets.cast("d")
        self._counts = octets.cast("Q")

    def beat(self, at: float, lag_s: float) -> None:
        """Say that the loop runs."""
        self._floats[_LAG_S] = lag_s
        self._floats[_BEAT_AT] = at

    def count(
        self, in_flight: int, connections: int, requests: int, is_full: bool = False
    ) -> None:
        """Say what the worker does."""
        self._counts[_IN_FLIGHT] = in_flight
        self._counts[_CONNECTIONS] = connections
        self._counts[_REQUESTS] = requests
        self._counts[_IS_FULL] = is_full

    def read(self) -> Reading:
        """Look at it."""
        return Reading(
            beat_at=self._floats[_BEAT_AT],
            lag_s=self._floats[_LAG_S],
            in_flight=self._counts[_IN_FLIGHT],
            connections=self._counts[_CONNECTIONS],
            requests=self._counts[_REQUESTS],
            is_full=bool(self._counts[_IS_FULL]),
        )

    def clear(self) -> None:
        """Make it blank for the next life."""
        for cell in range(_CELLS):
            self._counts[cell] = 0


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
        past_requests: Of each slot's earlier workers.
    """

    free: list[int]
    past_requests: dict[int, int]


class RowLedger:
    """The master's side: who has which row, and what the dead ones counted.

    Args:
        board: The mapped memory.
    """

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._free = list(range(ROW_COUNT - 1, -1, -1))
        self._past_requests: dict[int, int] = {}

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
        past = self._past_requests.get(slot, 0)
        self._past_requests[slot] = past + row.read().requests
        self._free.append(row.index)

    def give(self, index: int) -> Row:
        """Give a row that was taken before a thaw, to its old owner."""
        return self._board.row(index)

    def freeze(self) -> FrozenLedger:
        """Give all that it knows; the counts of the living are in the memory."""
        return FrozenLedger(self._free, self._past_requests)

    def thaw(self, frozen: FrozenLedger) -> None:
        """Go on from there, with the same memory."""
        self._free = frozen.free
        self._past_requests = frozen.past_requests

    def count_past_requests(self, slot: int) -> int:
        """Give the requests of this slot's earlier workers."""
        return self._past_requests.get(slot, 0)
