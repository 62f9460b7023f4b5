"""The whole service parked: nobody serves, and nothing is lost meanwhile.

The workers drain; the listeners stay, so new connections wait in their queues
(as many as the backlog holds) until the service is resumed. The forkserver
stays too: then workers are there at once.

A reload is a transaction, so parking waits for its end; one that is asked for
later resumes first.
"""

from blazeio_supervisor.fleet.facts import ParkAsked, ReloadAsked, ResumeAsked
from blazeio_supervisor.fleet.telling.words import asked_for
from blazeio_supervisor.fleet.turns.lives import step_worker
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import Event


class Parking:
    """Parks and resumes the service.

    Attributes:
        is_asked: It shall be parked.
        is_active: It is.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self.is_active = False
        self._by = ""

    def take(self, turn: Turn, *, may_begin: bool) -> None:
        """Learn what is asked for.

        Args:
            may_begin: It serves, and no reload is under way.
        """
        for fact in turn.facts:
            match fact:
                case ParkAsked():
                    self._ask(turn, fact, may_begin=may_begin)
                case ResumeAsked() | ReloadAsked():
                    self._resume(turn, fact)
                case _:
                    pass
        if self.is_asked and not self.is_active and may_begin:
            self.is_active = True
            text = "the workers drain, connections wait until `resume` or HUP"
            turn.report("parked", f"{asked_for(self._by)}: {text}")

    def run(self, turn: Turn) -> None:
        """End whoever serves, or would."""
        for handle in list(turn.roster.workers.values()):
            if handle.is_wanted:
                step_worker(turn, handle, Event.DRAIN)

    def _ask(self, turn: Turn, asked: ParkAsked, *, may_begin: bool) -> None:
        if not self.is_asked and not may_begin:
            text = "it begins when the start or the reload under way is over"
            turn.report("parking", f"{asked_for(asked.by)}: {text}")
        self.is_asked, self._by = True, asked.by

    def _resume(self, turn: Turn, asked: ResumeAsked | ReloadAsked) -> None:
        self.is_asked = False
        if self.is_active:
            self.is_active = False
            for slot in turn.roster.slots:
                slot.forgive()  # the operator does not want to wait for it
            text = f"{asked_for(asked.by)}: a worker starts in each slot"
            turn.report("resumed", text)
