"""What can be seen of the workers without asking them: rows, memory, pids."""

from collections.abc import Callable

from blazeio_supervisor.children.record import Records
from blazeio_supervisor.fleet.facts import Beat, Fact
from blazeio_supervisor.observe.memory import Memory
from blazeio_supervisor.observe.scoreboard import LongestRequest, Reading, RowLedger
from blazeio_supervisor.observe.tally import Histogram, Tally


class WorkerReadings:
    """Reads them; of a worker that is gone there is nothing.

    Args:
        records: Of the workers.
        ledger: Knows what the dead ones have counted.
        accuse: Takes the number of a worker whose row holds what none means, and
            what that is; whoever looks gets what is left of it.
    """

    def __init__(
        self,
        records: Records,
        ledger: RowLedger,
        accuse: Callable[[int, str], None],
    ) -> None:
        self._records = records
        self._ledger = ledger
        self._accuse = accuse

    def read_beats(self) -> list[Fact]:
        """Look at every row, also at one that was never written to."""
        beats: list[Fact] = []
        for record in list(self._records.values()):
            reading, memory = record.row.read(), record.memory
            if record.row.fault:
                self._accuse(record.worker, record.row.fault)
            beats.append(
                Beat(
                    record.worker,
                    at=reading.beat_at,
                    lag_s=reading.lag_s,
                    in_flight=reading.in_flight,
                    connections=reading.connections,
                    is_full=reading.is_full,
                    memory_bytes=None if memory is None else memory.own_bytes,
                    requests=reading.requests,
                )
            )
        return beats

    def read_row(self, worker: int) -> Reading | None:
        """Look at one worker's row."""
        record = self._records.get(worker)
        return None if record is None else record.row.read()

    def read_lags(self, worker: int) -> Histogram | None:
        """Look at how late one worker's loop has run."""
        record = self._records.get(worker)
        return None if record is None else record.row.read_tally().lag

    def read_longest(self, worker: int) -> LongestRequest | None:
        """Look at its oldest request in flight; None also when there is none."""
        record = self._records.get(worker)
        return None if record is None else record.row.read_longest()

    def read_tallies(self) -> dict[int, Tally]:
        """Give what the workers of each slot have counted, dead ones too."""
        tallies = dict(self._ledger.past)
        for record in self._records.values():
            past = tallies.get(record.slot, Tally())
            tallies[record.slot] = past + record.row.read_tally()
        return tallies

    def list_pids(self) -> dict[int, int]:
        """Give the pid of each that has one, by serial number."""
        return {r.worker: r.pid for r in self._records.values() if r.pid is not None}

    def note_memory(self, worker: int, memory: Memory) -> None:
        """Keep what was measured."""
        record = self._records.get(worker)
        if record is not None:
            record.memory = memory

    def recall_memory(self, worker: int) -> Memory | None:
        """Give what was last measured of a worker; None also before that."""
        record = self._records.get(worker)
        return None if record is None else record.memory
