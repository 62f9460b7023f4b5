"""Which worker runs the tasks that run once: a lease, which one has at a time.

It is granted to a worker that serves, and is free again only when that worker has
said that its tasks have ended, or has ended itself. So two workers never run them at
once, whatever happens; a worker that is blocked keeps the lease until it is gone.
Whoever is told to drain gives it back by itself, before its last requests are
answered.
"""

from msgspec import Struct

from blazeio_supervisor.fleet.actions import GrantLease
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import LeaseReturned
from blazeio_supervisor.fleet.roster import WorkerHandle


class TaskLease(Struct):
    """The lease.

    Attributes:
        holder: The serial number of the worker that has it; None: it is free.
    """

    holder: int | None = None

    def run(self, context: PlanContext) -> None:
        """Take the lease back from a worker that has ended; grant it if it is free."""
        for fact in context.facts:
            if isinstance(fact, LeaseReturned):
                self._return(context, fact.worker)
        # A worker is in the roster until it was reaped, so its tasks cannot run any
        # more when the lease goes to another one.
        if self.holder is not None and self.holder not in context.roster.workers:
            self.holder = None
        if self.holder is None:
            self._grant(context)

    def _return(self, context: PlanContext, worker: int) -> None:
        handle = context.roster.workers.get(worker)
        if handle is not None and worker == self.holder:
            # It is about to end, even where its order to drain is still to come.
            handle.has_returned_lease = True
            self.holder = None

    def _grant(self, context: PlanContext) -> None:
        able = [
            handle
            for handle in context.roster.serving()
            if handle.has_tasks and not handle.has_returned_lease
        ]
        if not able:
            return
        chosen = min(able, key=lambda handle: _rank(context, handle))
        self.holder = chosen.worker
        context.act(GrantLease(chosen.worker))
        text = "it runs the tasks that run once, from now on"
        context.report("tasks_leased", text, of=chosen)


def _rank(context: PlanContext, handle: WorkerHandle) -> tuple[bool, bool, bool, int]:
    """Rank a worker; the lowest is taken: new code, a turning loop, none that ends."""
    is_outdated = handle.generation != context.roster.generation
    is_late = handle.health.is_late or handle.health.is_avoided
    return is_outdated, is_late, bool(handle.retire_reason), handle.slot
