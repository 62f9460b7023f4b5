"""How long the supervisor waits."""

from dataclasses import dataclass

from blazeio_supervisor.options.kinds.numbers import Seconds
from blazeio_supervisor.options.option import Section, SettingError, option


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Times(Section):
    """Spans of the supervisor; those of the request path are limits."""

    title = "Time (seconds)"

    graceful_timeout_s: float = option(
        Seconds(0.1),
        "A worker that is told to end has this long to answer what is in flight and "
        "to run its on_stop hooks; then it is killed.",
        default=30.0,
    )
    boot_timeout_s: float = option(
        Seconds(0.1),
        "Import and on_start hooks must be done by then.",
        default=60.0,
    )
    timeout_s: float = option(
        Seconds(1),
        "A worker whose event loop is blocked for this long prints its stacks and is "
        "replaced.",
        default=30.0,
    )
    canary_hold_s: float = option(
        Seconds(),
        "At a reload the first new worker must serve this long before an old one is "
        "touched (if it dies, nothing has happened), and the last one before the way "
        "back to the old code is given up.",
        default=2.0,
    )
    rollout_timeout_s: float = option(
        Seconds(1),
        "A reload must have put a new worker into every slot by then; else all goes "
        "back to the old code.",
        default=600.0,
    )
    upgrade_timeout_s: float = option(
        Seconds(0.1),
        "In an upgrade (USR2) the new code of the supervisor must have begun by then, "
        "in the rehearsal and again in earnest; else the old code goes on.",
        default=10.0,
    )
    drain_idle_s: float = option(
        Seconds(),
        "A worker that ends keeps an idle connection for this long, since its client "
        "may be just sending.",
        default=2.0,
    )
    drain_delay_s: float = option(
        Seconds(),
        "After TERM, QUIT or `stop` the service says that it is not ready, and serves "
        "on for this long before it drains, so that a load balancer can look "
        "elsewhere. A second one, or INT, ends the wait. Workers that got TERM too "
        "are replaced meanwhile (systemd: set KillMode=mixed).",
        default=0.0,
    )

    def check(self) -> None:
        """See that a reload can end."""
        if self.rollout_timeout_s <= self.canary_hold_s:
            raise SettingError(
                "rollout_timeout_s",
                "no reload could end, since --canary-hold alone takes "
                f"{self.canary_hold_s:g} s",
            )
