"""Who is answerable for what a process below the master does."""

from collections.abc import Callable

from blazeio_supervisor.process.parentage import iterate_ancestors

Accuse = Callable[[str], None]
"""Takes what a child of ours did."""


class Blame:
    """Finds the child of ours that a process is, or descends from."""

    def __init__(self) -> None:
        self._accuse: dict[int, Accuse] = {}

    def know(self, pid: int, accuse: Accuse) -> None:
        """Call this for what the child of this pid does from now on."""
        self._accuse[pid] = accuse

    def forget(self, pid: int | None) -> None:
        """That child is gone."""
        if pid is not None:
            self._accuse.pop(pid, None)

    def accuse(self, pid: int, reason: str) -> None:
        """Accuse whoever this process belongs to; of a stranger: nobody.

        One that has lost its parent belongs to nobody any more: what it can do
        must do no harm.
        """
        for each in iterate_ancestors(pid):
            if each in self._accuse:
                self._accuse[each](reason)
                return
