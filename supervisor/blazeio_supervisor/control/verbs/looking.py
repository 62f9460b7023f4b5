"""The verbs that look."""

import click

from blazeio_supervisor.control.answers import StackAnswer, StackOrder, StatusAnswer
from blazeio_supervisor.control.display.sentences import format_stacks
from blazeio_supervisor.control.display.status_table import format_status
from blazeio_supervisor.control.verbs.declaring import Target, read_slots, show, verb


@verb()
def status(target: Target, is_json: bool) -> int:
    """Show the service: addresses, workers and their load, a reload under way.

    A slot whose worker does not serve says who takes its queue meanwhile. lag: how
    late a worker's event loop runs. memory: what its
    end would give back.
    """
    answer = target.find().ask("GET", "/status", StatusAnswer)
    return show(answer, is_json, format_status)


@verb(click.argument("slot", metavar="SLOT|all", default="all"))
def stack(target: Target, is_json: bool, slot: str) -> int:
    """Show where the workers of a slot are: every thread and every asyncio task.

    Works while a worker's loop is blocked, too: the line at the top of `Current
    thread` is the one that blocks it. Tasks that wait at the same place are one
    entry.
    """
    order = StackOrder(read_slots(slot))
    answer = target.find().ask("POST", "/stack", StackAnswer, order)
    return show(answer, is_json, format_stacks)
