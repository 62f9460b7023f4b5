"""The hands: each action of the planner carried out."""

from typing import assert_never

from msgspec import Struct

from blazeio_supervisor.children.blocked import StackReports
from blazeio_supervisor.children.forkservers import Forkservers
from blazeio_supervisor.children.worker_orders import WorkerOrders
from blazeio_supervisor.control.reloads import Reloads
from blazeio_supervisor.ending import Ending
from blazeio_supervisor.fleet.actions import (
    Action,
    Admit,
    Adopt,
    AskStack,
    CheckHealth,
    DumpStack,
    End,
    Exit,
    LastCall,
    Notify,
    OpenSlot,
    Probe,
    Release,
    ReloadEnded,
    Report,
    ReportBoot,
    Spawn,
    StartForkserver,
    Stay,
    Steer,
    StopForkserver,
)
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.hands.rules import Rules
from blazeio_supervisor.hands.slots import Slots
from blazeio_supervisor.notify.probes import Probes
from blazeio_supervisor.notify.telling import Telling
from blazeio_supervisor.observe.banner import Banner
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.health_path import HealthChecks
from blazeio_supervisor.sockets.binding import Binding


class Hands(Struct, frozen=True, kw_only=True):
    """What each action is done with."""

    planner: Planner
    rules: Rules
    forkservers: Forkservers
    orders: WorkerOrders
    stack_reports: StackReports
    health_checks: HealthChecks
    probes: Probes
    slots: Slots
    binding: Binding
    reloads: Reloads
    banner: Banner
    telling: Telling
    ending: Ending

    def perform(self, action: Action) -> None:  # noqa: C901 - a table, which mypy knows to be total
        """Carry out one action.

        Raises:
            Exception: It cannot be done.
        """
        match action:
            case StartForkserver(generation):
                self.rules.try_out(generation)
                self.forkservers.start(generation)
            case StopForkserver(generation, ending):
                self.forkservers.stop(generation, ending)
            case Spawn():
                self.forkservers.fork(action)
            case Admit(worker):
                self.orders.admit(worker)
            case End(worker, ending):
                drain = self.ending.make_drain(self.planner.policy)
                self.orders.end(worker, ending, drain)
            case DumpStack(worker, blocked_s):
                self.stack_reports.begin(worker, blocked_s)
            case AskStack(worker):
                self.orders.begin_stacks(worker)
            case ReportBoot():
                self.stack_reports.begin_boot(action)
            case CheckHealth(worker):
                self.health_checks.begin(worker)
            case Probe(worker):
                self.probes.begin(worker)
            case OpenSlot(slot):
                self.slots.open(slot)
            case Adopt(slot, by):
                self.slots.adopt(slot, by)
            case Release(slot, by):
                self.slots.release(slot, by)
            case Steer(weights):
                self.slots.steer(weights)
            case Stay():
                self.orders.stay()
            case LastCall():
                self._call_last()
            case ReloadEnded():
                self._end_reload(action)
            case Report():
                _note_report(action)
            case Notify():
                self.telling.tell(action)
            case Exit(code, reason):
                self.stack_reports.cancel()
                self.ending.end(code, reason)
            case _:
                assert_never(action)

    def _end_reload(self, ended: ReloadEnded) -> None:
        settings = self.rules.decide(ended)
        if ended.is_ok:
            self.banner.take(ended.generation, settings)
        self.reloads.end(ended)

    def _call_last(self) -> None:
        self.ending.be_final()
        self.binding.cancel()
        self.slots.call_last()


def _note_report(report: Report) -> None:
    note(
        report.event,
        report.text,
        report.level,
        worker=report.worker,
        slot=report.slot,
        generation=report.generation,
        pid=report.pid,
        reason=report.reason,
    )
