"""How long the supervisor waits: one line in the table for each span."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import click

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.section import Section
from blazeio_supervisor.settings import Settings

_MOST_S = 86_400.0
_DEFAULTS = {field.name: field.default for field in fields(Settings)}


@dataclass(frozen=True, slots=True)
class Span:
    """One option that is a span of time.

    Attributes:
        option: ``--drain-idle`` is ``Settings.drain_idle_s``, whose default it has.
        least_s: The least that makes sense.
        help: One or two sentences.
    """

    option: str
    least_s: float
    help: str

    @property
    def field(self) -> str:
        """The field of ``Settings``."""
        return f"{self.key}_s"

    @property
    def key(self) -> str:
        """What click calls it."""
        return self.option.removeprefix("--").replace("-", "_")

    def make_option(self) -> click.Option:
        """Declare it."""
        default = _DEFAULTS[self.field]
        return click.Option(
            [self.option],
            type=float,
            default=default,
            metavar="S",
            help=f"{self.help}  [default: {default:g}]",
        )


SPANS = (
    Span(
        "--graceful-timeout",
        0.1,
        "A worker that is told to end has this long to answer what is in flight and "
        "to run its on_stop hooks; then it is killed.",
    ),
    Span(
        "--boot-timeout",
        0.1,
        "Import and on_start hooks must be done by then.",
    ),
    Span(
        "--timeout",
        1.0,
        "A worker whose event loop is blocked for this long prints its stacks and is "
        "replaced.",
    ),
    Span(
        "--canary-hold",
        0.0,
        "At a reload the first new worker must serve this long before an old one is "
        "touched; if it dies, nothing has happened.",
    ),
    Span(
        "--rollout-timeout",
        1.0,
        "A reload must have put a new worker into every slot by then; else all goes "
        "back to the old code.",
    ),
    Span(
        "--drain-idle",
        0.0,
        "A worker that ends keeps an idle connection for this long, since its client "
        "may be just sending.",
    ),
    Span(
        "--drain-delay",
        0.0,
        "After TERM, QUIT or `stop` the service says that it is not ready, and serves "
        "on for this long before it drains, so that a load balancer can look "
        "elsewhere. A second one, or INT, ends the wait. Workers that got TERM too "
        "are replaced meanwhile (systemd: set KillMode=mixed).",
    ),
)

TIMES = Section(
    "Time (seconds)",
    tuple(span.make_option() for span in SPANS),
)


def read_spans(given: Mapping[str, Any]) -> dict[str, float]:
    """Check every span; gives the fields of ``Settings``.

    Raises:
        UsageError: One is too short or too long, or no number at all.
    """
    spans = {span.field: _read_span(span, given[span.key]) for span in SPANS}
    rollout_s, hold_s = spans["rollout_timeout_s"], spans["canary_hold_s"]
    if rollout_s <= hold_s:
        raise UsageError(
            f"--rollout-timeout {rollout_s:g}: no reload could end, since "
            f"--canary-hold alone takes {hold_s:g} s"
        )
    return spans


def _read_span(span: Span, value: float) -> float:
    if not span.least_s <= value <= _MOST_S:
        raise UsageError(
            f"{span.option} {value:g}: expected {span.least_s:g} to {_MOST_S:g} seconds"
        )
    return value
