"""The result of ``make bench`` as a picture: ``make bench ARGS='--svg FILE'``.

Bars of CPU time per request, the shortest first. It says when, on which machine, by
which interpreter and by which command it was measured; light and dark as the reader's
screen is. Pure.
"""

from collections.abc import Sequence
from html import escape

from tests.bench.contestants import OURS
from tests.bench.report import Result

WIDTH, LABEL_WIDTH, VALUE_WIDTH = 760, 170, 90
ROW, HEAD, FOOT = 30, 62, 64
_STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #24292f }
    .title { font-size: 17px; font-weight: 600 }
    .small { font-size: 12px; fill: #57606a }
    .bar { fill: #8c959f }
    .ours { fill: #4051b5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .bar { fill: #6e7681 }
      .ours { fill: #8c9eff }
    }
"""


def draw_chart(results: Sequence[Result], notes: Sequence[str]) -> str:
    """Draw the bars of some results.

    Args:
        results: At least one, each measured.
        notes: Lines below the bars: when, where and how it was measured.

    Returns:
        An SVG that asks no other host for anything.
    """
    ordered = sorted(results, key=lambda each: each.cpu_us)
    longest_us = ordered[-1].cpu_us
    height = HEAD + ROW * len(ordered) + FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="CPU time per request, in microseconds">',
        f"  <style>{_STYLE}  </style>",
        '  <text class="title" x="0" y="22">CPU time per request, JSON hello</text>',
        '  <text class="small" x="0" y="42">microseconds of the whole process tree; '
        "shorter is better</text>",
    ]
    for number, result in enumerate(ordered):
        lines += _draw_row(result, HEAD + ROW * number, longest_us)
    foot = HEAD + ROW * len(ordered) + 18
    for number, note in enumerate(notes):
        y = foot + 16 * number
        lines.append(f'  <text class="small" x="0" y="{y}">{escape(note)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _draw_row(result: Result, y: int, longest_us: float) -> list[str]:
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    width = room * result.cpu_us / longest_us
    kind = "ours" if result.name in OURS else "bar"
    middle = y + ROW // 2 + 2
    return [
        f'  <text x="{LABEL_WIDTH - 10}" y="{middle}" text-anchor="end">'
        f"{escape(result.name)}</text>",
        f'  <rect class="{kind}" x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" '
        f'height="{ROW - 10}" rx="3"/>',
        f'  <text x="{LABEL_WIDTH + width + 8:.1f}" y="{middle}">'
        f"{result.cpu_us:.1f}</text>",
    ]
