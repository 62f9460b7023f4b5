"""Waiting for what was ordered, by looking at the service's status."""

import time
from collections.abc import Callable

from blazeio_supervisor.control.answers.status import StatusAnswer
from blazeio_supervisor.control.client import Client, NotRunningError
from blazeio_supervisor.control.display.sentences import format_bar
from blazeio_supervisor.control.verbs.declaring import ProgressLine, interruptible
from blazeio_supervisor.control.verbs.extents import Extent
from blazeio_supervisor.errors import SupervisorError

LOOK_EVERY_S = 0.1


def wait_for(
    client: Client, what: str, measure: Callable[[StatusAnswer], Extent]
) -> float:
    """Wait until it is done; a terminal shows how far it is.

    Args:
        client: Asks the service.
        what: What was ordered, as the subject of a sentence: ``the reload``.
        measure: Says how far that is.

    Returns:
        How long it took, seconds.

    Raises:
        SupervisorError: It came to nothing, or is not waited for any more.
    """
    line, began_at = ProgressLine(), time.monotonic()
    try:
        with interruptible(f"{what} goes on"):
            while True:
                extent = measure(_look(client, what))
                if extent.is_over:
                    return time.monotonic() - began_at
                if extent.fault:
                    raise SupervisorError(f"{what} is not done: {extent.fault}")
                line.write(f"{what}: {format_bar(extent.done, extent.total)}")
                time.sleep(LOOK_EVERY_S)
    finally:
        line.clear()


def _look(client: Client, what: str) -> StatusAnswer:
    try:
        return client.ask("GET", "/status", StatusAnswer)
    except NotRunningError as error:
        raise SupervisorError(f"the service ended before {what} was over") from error
