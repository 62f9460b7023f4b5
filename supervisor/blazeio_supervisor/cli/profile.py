"""The verb ``profile``: a flame graph, collapsed stacks, or a table."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING
from zlib import crc32

import click
import msgspec
from msgspec import Struct, field

from blazeio_supervisor import files
from blazeio_supervisor.cli.output import format_bar, format_bytes, say
from blazeio_supervisor.cli.verbs import (
    ProgressLine,
    ServiceTarget,
    interruptible,
    show,
    verb,
)
from blazeio_supervisor.errors import (
    BrokenOffError,
    ExitCode,
    SupervisorError,
    count_of,
)
from blazeio_supervisor.ipc.control_api import (
    PROFILE,
    ProfileAnswer,
    ProfileOrder,
    ProfileProgress,
)
from blazeio_supervisor.ipc.status_api import MOST_SECONDS, Profiled
from blazeio_supervisor.log.formats import escape_line

if TYPE_CHECKING:
    from blazeio_supervisor.cli.client import ControlClient

FORMATS: Sequence[str] = ("flame", "collapsed", "table")
TABLE_ROWS = 40
WIDTH_PX = 1200
LEAST_PX = 0.3
"""A frame that would be narrower is left out; it is counted in the one below it."""
_ROW_PX, _CHAR_PX, _MARGIN_PX, _HEAD_PX = 17, 6.6, 10, 40


class _Frame(Struct):
    """A frame of the graph.

    Attributes:
        count: Samples in it and above it.
        inner: What it has called, by name.
    """

    name: str
    count: int = 0
    inner: dict[str, "_Frame"] = field(default_factory=dict)


def describe_profile(profile: Profiled, of: str) -> str:
    """Write in a line what was sampled."""
    counted = sum(count for _, count in profile.stacks)
    waited = f", {profile.waiting:,} more only waited" if profile.waiting else ""
    cost = 100 * profile.own_cpu_s / profile.took_s if profile.took_s else 0.0
    return (
        f"{of}: {profile.samples:,} looks in {profile.took_s:.1f} s: {counted:,} "
        f"stacks at work{waited}; the profile itself took {cost:.1f} % of a core"
    )


def write_collapsed(profile: Profiled) -> str:
    """Write a line for each stack, as flamegraph.pl and speedscope read it."""
    return "\n".join(
        f"{';'.join(name.replace(';', ',') for name in stack)} {count}"
        for stack, count in _list_stacks(profile)
    )


def _list_stacks(profile: Profiled) -> Iterator[tuple[list[str], int]]:
    for places, count in sorted(profile.stacks, key=lambda each: -each[1]):
        # Names of functions come from the app: a control character in one must not
        # reach the terminal.
        yield [escape_line(profile.names[place]) for place in places], count


def write_table(profile: Profiled) -> str:
    """Write which functions the samples were in, the most frequent first."""
    if profile.memory:
        return _write_memory(profile)
    own: dict[str, int] = defaultdict(int)
    all_: dict[str, int] = defaultdict(int)
    total = 0
    for stack, count in _list_stacks(profile):
        total += count
        own[stack[-1]] += count
        for name in set(stack):
            all_[name] += count
    lines = ["  self   total  function"]
    ranked = sorted(all_, key=lambda name: (-own[name], -all_[name]))
    lines += [
        f"{_share(own[name], total)} {_share(all_[name], total)}  {name}"
        for name in ranked[:TABLE_ROWS]
    ]
    more = len(ranked) - TABLE_ROWS
    if more > 0:
        lines.append(f"and {count_of(more, 'more function')}")
    return "\n".join(lines)


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:5.1f} %" if total else "    0 %"


def _write_memory(profile: Profiled) -> str:
    lines = ["     grown   blocks       size  line"]
    for each in profile.memory:
        sign = "-" if each.grown_bytes < 0 else "+"
        grown = f"{sign}{format_bytes(abs(each.grown_bytes))}"
        size = format_bytes(each.size_bytes)
        place = escape_line(each.place)
        lines.append(f"{grown:>10} {each.grown_count:+8,} {size:>10}  {place}")
    return "\n".join(lines)


def write_flame(profile: Profiled, title: str) -> str:
    """Write a flame graph as SVG.

    A browser shows each frame's name and share where the pointer is, and finds texts.
    The widest are the frames with most samples; who has called stands below.
    """
    root = _Frame("all")
    for stack, count in _list_stacks(profile):
        root.count += count
        frame = root
        for name in stack:
            frame = frame.inner.setdefault(name, _Frame(name))
            frame.count += count
    scale = (WIDTH_PX - 2 * _MARGIN_PX) / max(root.count, 1)
    placed = list(_place(root, _MARGIN_PX, 0, scale))
    height = (
        _HEAD_PX + (1 + max(depth for _, _, depth in placed)) * _ROW_PX + _MARGIN_PX
    )
    body = "\n".join(
        _draw(frame, x, height - _MARGIN_PX - (depth + 1) * _ROW_PX, scale, root.count)
        for frame, x, depth in placed
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{height}" \
viewBox="0 0 {WIDTH_PX} {height}">
<style>
text {{ font: 11px monospace; fill: #222; pointer-events: none }}
rect {{ stroke: #fff; stroke-width: 0.5 }}
g:hover rect {{ stroke: #222; stroke-width: 1 }}
</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{_MARGIN_PX}" y="22">{escape(escape_line(title))}</text>
{body}
</svg>
"""


def _place(
    frame: _Frame, x: float, depth: int, scale: float
) -> Iterator[tuple[_Frame, float, int]]:
    # A list of what is to do, and no recursion: a stack of the app may be deeper than
    # Python lets a function call itself.
    todo: list[tuple[_Frame, float, int]] = [(frame, x, depth)]
    while todo:
        frame, x, depth = todo.pop()
        yield frame, x, depth
        for inner in sorted(frame.inner.values(), key=lambda each: each.name):
            if inner.count * scale >= LEAST_PX:
                todo.append((inner, x, depth + 1))
            x += inner.count * scale


def _draw(frame: _Frame, x: float, y: float, scale: float, total: int) -> str:
    width = frame.count * scale
    name = escape(frame.name)
    share = 100 * frame.count / max(total, 1)
    room = int((width - 4) / _CHAR_PX)
    shown = frame.name if len(frame.name) <= room else f"{frame.name[: room - 1]}…"
    text = (
        f'<text x="{x + 3:.1f}" y="{y + 12:.1f}">{escape(shown)}</text>'
        if room >= 3
        else ""
    )
    return (
        f"<g><title>{name} ({count_of(frame.count, 'sample')}, {share:.1f} %)</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_ROW_PX - 1}" '
        f'fill="{_choose_colour(frame.name)}"/>{text}</g>'
    )


def _choose_colour(name: str) -> str:
    """Return a warm colour, the same for the same function wherever it stands."""
    # ``hash`` of a text differs from run to run (PYTHONHASHSEED), and two graphs of the
    # same app could not be compared.
    number = crc32(name.encode("utf-8", "replace"))
    hue, warmth, light = number % 45, number // 64 % 25, number // 4096 % 14
    return f"hsl({10 + hue}, {70 + warmth}%, {62 + light}%)"


# The verb.


_PROFILE_MODE = 0o644
_PROFILED: msgspec.json.Decoder[ProfileProgress | ProfileAnswer] = msgspec.json.Decoder(
    ProfileProgress | ProfileAnswer
)


@verb(
    "what a worker does with its time: a flame graph, while it serves",
    click.argument("slot", metavar="SLOT", type=int),
    click.option(
        "--seconds",
        type=click.FloatRange(0.1, MOST_SECONDS),
        default=10.0,
        show_default=True,
        help="How long it takes.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="flame: an SVG; collapsed: a line a stack, for other programs; table: the "
        "functions.  [default: flame; table with --memory]",
    ),
    click.option(
        "--output",
        metavar="FILE",
        help="Write it there; - is standard output.  [default: profile-SLOT-PID.svg "
        "for a flame graph, else standard output]",
    ),
    click.option("--all", "is_whole", is_flag=True, help="Show what waits, too."),
    click.option(
        "--memory",
        is_flag=True,
        help="Show which lines allocate, by tracemalloc, if the app has started it.",
    ),
)
def profile(
    target: ServiceTarget,
    is_json: bool,
    slot: int,
    seconds: float,
    form: str | None,
    output: str | None,
    is_whole: bool,
    memory: bool,
) -> int:
    """Show what the worker of a slot does with its time, while it serves.

    A hundred times a second a thread in the worker looks at where all of its threads
    are; the frames stand below the request (method and route) or the task that runs.
    It works while a worker's loop is blocked by Python code, too. One profile is taken
    at a time; ^C ends it.
    """
    order = ProfileOrder(slot, seconds, is_whole, memory)
    client = target.find()
    with interruptible("the profile is over, too"):
        answer = _follow_profile(client, order)
    if answer.profile.failure:
        raise SupervisorError(f"no profile of slot {slot}: {answer.profile.failure}")
    if is_json:
        return show(answer, is_json, str)
    of = f"slot {answer.slot}, pid {answer.pid}, generation {answer.generation}"
    summary = describe_profile(answer.profile, of)
    form = form or ("table" if memory else "flame")
    if form == "flame":
        text = write_flame(answer.profile, summary)
        output = output or f"profile-{answer.slot}-{answer.pid}.svg"
    elif form == "collapsed":
        text = write_collapsed(answer.profile) + "\n"
    else:
        text = write_table(answer.profile) + "\n"
    if output in (None, "-"):
        click.echo(text, nl=False)
        say(summary)
        return ExitCode.OK
    _write_profile(output, text)
    click.echo(f"{summary}\nwritten to {escape_line(output)}")
    return ExitCode.OK


def _write_profile(path: str, text: str) -> None:
    try:
        files.replace(path, text.encode("utf-8", "replace"), _PROFILE_MODE)
    except OSError as error:
        raise SupervisorError(f"cannot write {path}: {error.strerror}") from None


def _follow_profile(client: "ControlClient", order: ProfileOrder) -> ProfileAnswer:
    line, began_at = ProgressLine(), time.monotonic()
    try:
        for said in client.follow(PROFILE, order, _PROFILED):
            if isinstance(said, ProfileAnswer):
                return said
            done = min(time.monotonic() - began_at, order.span_s)
            bar = format_bar(round(done), max(1, round(order.span_s)))
            line.write(f"profile: {bar} s, {count_of(said.samples, 'look')}")
    except BrokenOffError:
        pass  # the master was killed
    finally:
        line.clear()
    raise SupervisorError("the service ended before the profile was whole")
