"""Those of the fleet: see ``explained.py``."""

from tests.mutants.explanation import Explained

_FLEET = "supervisor/blazeio_supervisor/fleet"
FLEET: tuple[Explained, ...] = (
    Explained(
        "that the bounds differ is known by then",
        *(f"{_FLEET}/scale.py", "_wanted", ("bound = * if wanted >= asked else *",)),
    ),
    Explained(
        "slots that are active are woken once more, which changes nothing",
        *(f"{_FLEET}/scale.py", "scale_to", ("for index in range(wanted):",)),
    ),
    Explained(
        "slots that are parked have the highest numbers",
        *(f"{_FLEET}/scale.py", "_retire_surplus", ("break",)),
    ),
    Explained(
        "what it has been asked before its first beat is counted from then on",
        f"{_FLEET}/canary.py",
        "Canary._get_clients",
        (
            "self.seen_requests = 0 if (beat is None) or True else beat.requests",
            "self.seen_requests = 1 if beat is None else beat.requests",
        ),
    ),
    Explained(
        "whether at the moment itself or in the turn after it",
        f"{_FLEET}/canary.py",
        "is_blocked",
        ("return measure_silence_s(context, handle) > context.policy.dump_after_s",),
    ),
    Explained(
        "whether at the moment itself or in the turn after it",
        f"{_FLEET}/health.py",
        "hangs",
        ("return measure_silence_s(context, handle) > context.policy.timeout_s",),
    ),
    Explained(
        "whether at the moment itself or in the turn after it",
        f"{_FLEET}/lifecycle.py",
        "Notices._is_boot_overdue",
        ("return context.now > self.began_at + 2 * context.policy.boot_timeout_s",),
    ),
    Explained(
        "neither is a phase",
        *(f"{_FLEET}/rollout.py", "Rollout.run", ('before = ""',)),
    ),
    Explained(
        "who exits or is late does so for a reason, which is given",
        f"{_FLEET}/context.py",
        "step_*",
        ('reason: str = "XXXX",',),
    ),
    Explained(
        "any seed will do, as long as it is the same each time",
        *(f"{_FLEET}/planner.py", "Planner.__init__", ("*Random(1)*",)),
    ),
    Explained(
        "where both are equal the distance is 0",
        *(f"{_FLEET}/canary.py", "is_no_chance", ("if share < expected:",)),
    ),
    Explained(
        "both have one for each bucket or route",
        f"{_FLEET}/canary.py",
        "*",
        (
            "tuple(a + b for a, b in zip(self.spans, other.spans, *",
            "tuple(a - b for a, b in zip(self.spans, other.spans, *",
            "for route, how in zip(failing[1:], before[1:], *",
            "for count, edge in zip(spans, SPAN_EDGES_S, *",
        ),
    ),
)
