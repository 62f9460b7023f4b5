"""The result of a soak, as a table for people and as JSON for programs."""

import dataclasses
import json
from collections.abc import Sequence

from tests.soak.run import Check


def format_json(checks: Sequence[Check]) -> str:
    return json.dumps([dataclasses.asdict(each) for each in checks], indent=2)


def format_table(checks: Sequence[Check]) -> str:
    """One line for each invariant."""
    rows = [
        ("ok" if each.holds else "FAILED", each.scenario, each.what, each.seen)
        for each in checks
    ]
    heads = ("", "scenario", "what must hold", "seen")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (heads, *rows)
    ]
    rule = "-" * max(map(len, map(str.rstrip, lines)))
    return "\n".join([lines[0].rstrip(), rule, *map(str.rstrip, lines[1:])])
