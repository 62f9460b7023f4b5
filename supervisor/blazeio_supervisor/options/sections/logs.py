"""What the supervisor says of itself, and where."""

from dataclasses import dataclass

from blazeio_supervisor.observe.logs import LEVELS
from blazeio_supervisor.options.kinds.texts import Choice
from blazeio_supervisor.options.option import Section, option


@dataclass(frozen=True, kw_only=True)
class Logs(Section):
    """The supervisor's own log; the app's ``logging`` is its own matter."""

    title = "Log"

    log_level: str = option(
        Choice(LEVELS, "LEVEL"),
        "Of the supervisor's own log, on standard error: debug, info, warning or "
        "error.",
        default="INFO",
    )
