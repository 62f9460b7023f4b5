"""What a worker has said of itself, as text: what of it is worth reading. Pure."""

import re

MOST_CHARS = 16 * 1024
"""Of the stacks of one report, in the log and among the events; the rest is cut."""

# From the frame that runs the loop, down to the interpreter's own.
_OWN_FRAMES = re.compile(
    r'(?m)^  File ".*/blazeio_supervisor/generation/worker\.py", line \d+ in _serve$'
    r"\n(?:^  File .*\n?)*"
)
_FRAME = re.compile(
    r'(?m)^  File "(?P<file>[^"\n]*)", line (?P<line>\d+) in (?P<function>\S+)$'
)
_SUBJECT = re.compile(r"(?m)^worker=.*? pid=\d+: (.*)$")


def fold_own_frames(text: str) -> str:
    """Leave out how the worker itself was started: the same in every stack."""
    return _OWN_FRAMES.sub("  (from here on the worker's own start)\n", text)


def find_import(text: str) -> str:
    """Find what a process is in that imports or starts an app; "" when unknown.

    The newest call comes first. The one nearest to it that runs at the top of a
    module is in the module that is being imported.
    """
    _, _, current = text.partition("Current thread")
    frames = list(_FRAME.finditer(current or text))
    frames = [each for each in frames if not each["file"].startswith("<frozen ")]
    if not frames:
        return ""
    where = (
        f"it is in {frames[0]['function']} ({frames[0]['file']}:{frames[0]['line']})"
    )
    for each in frames:
        if each["function"] == "<module>":
            return f"{where}, importing {each['file']} (line {each['line']})"
    return where


def trim_stacks(text: str) -> str:
    """Cut what a worker has said to what belongs into a report."""
    return fold_own_frames(text.strip())[:MOST_CHARS]


def find_subject(text: str) -> str:
    """Find the line on what its loop is in; "" where Python has said nothing."""
    found = _SUBJECT.search(text)
    return found[1] if found else ""
