"""Where the service is looked at from outside."""

from dataclasses import dataclass

from blazeio_supervisor.options.kinds.texts import Parsed
from blazeio_supervisor.options.option import Change, Section, option
from blazeio_supervisor.sockets.address import (
    Address,
    format_address,
    parse_address,
)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Metrics(Section):
    """Metrics and probes, on an address of their own."""

    title = "Metrics"

    metrics_bind: Address | None = option(
        Parsed(parse_address, "ADDRESS", format_address),
        "Answer /metrics (for Prometheus), /livez and /readyz here: host:port, :port "
        "or unix:/path. For whoever reaches it, so keep it to yourself.",
        default=None,
        default_text="nowhere",
        change=Change.RESTART,
    )
