"""The verbs that look."""

from blazeio_supervisor.control.answers import StatusAnswer
from blazeio_supervisor.control.display.status_table import format_status
from blazeio_supervisor.control.verbs.declaring import Target, show, verb


@verb()
def status(target: Target, is_json: bool) -> int:
    """Show the service: addresses, workers and their load, a reload under way.

    A slot whose worker does not serve says who takes its queue meanwhile. lag: how
    late a worker's event loop runs. memory: what its
    end would give back.
    """
    answer = target.find().ask("GET", "/status", StatusAnswer)
    return show(answer, is_json, format_status)
