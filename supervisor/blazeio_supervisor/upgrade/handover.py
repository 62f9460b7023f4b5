"""One upgrade: who asked for it, and what became of it."""

import msgspec
from msgspec import Struct


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """The upgrade itself.

    Attributes:
        number: Of this upgrade, from 1 on.
        by: Who asked.
        began_at: Monotonic seconds.
        signal_mask: What was blocked before everything was; for an exec.
    """

    number: int
    by: str
    began_at: float
    signal_mask: list[int] = []


class Outcome(Struct, frozen=True):
    """What became of an upgrade, or of its rehearsal.

    Attributes:
        number: Of the upgrade; 0: none was begun.
        is_over: False: the exec is about to happen.
        reason: Why it failed; the old code goes on.
        output: What the new code raised, where nobody foresaw it.
        program: The version that took over, or would.
        took_s: From the order on.
    """

    number: int = 0
    is_over: bool = True
    is_ok: bool = False
    reason: str = ""
    output: str = ""
    program: str = ""
    took_s: float = 0.0
