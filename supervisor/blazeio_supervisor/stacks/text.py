"""What a worker has said of itself, as text: what of it is worth reading. Pure."""

import re

MOST_CHARS = 16 * 1024
"""Of the stacks of one report, in the log and among the events; the rest is cut."""

# From the frame that runs the loop, down to the interpreter's own.
_OWN_FRAMES = re.compile(
    r'(?m)^  File ".*/blazeio_supervisor/generation/worker\.py", line \d+ in _serve$'
    r"\n(?:^  File .*\n?)*"
)
_SUBJECT = re.compile(r"(?m)^worker=.*? pid=\d+: (.*)$")


def fold_own_frames(text: str) -> str:
    """Leave out how the worker itself was started: the same in every stack."""
    return _OWN_FRAMES.sub("  (from here on the worker's own start)\n", text)


def trim_stacks(text: str) -> str:
    """Cut what a worker has said to what belongs into a report."""
    return fold_own_frames(text.strip())[:MOST_CHARS]


def find_subject(text: str) -> str:
    """Find the line on what its loop is in; "" where Python has said nothing."""
    found = _SUBJECT.search(text)
    return found[1] if found else ""
