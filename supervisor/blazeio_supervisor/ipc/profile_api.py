"""A profile of one worker: what is ordered, and what comes back. Values only."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

RATE_HZ = 100
"""Samples a second of each thread."""
MOST_SECONDS = 600
"""The longest that one profile may take."""
DEPTH_COUNT = 100
"""Frames of one stack; of a deeper one the innermost are kept."""
STACK_COUNT = 5_000
"""Different stacks; what more there are is counted as one."""
NAME_CHARS = 200
"""The longest name of a frame."""
LINE_COUNT = 50
"""Lines of code that are named in a profile of the memory."""
ANSWER_BYTES = 8 * 1024 * 1024
"""The longest answer; a longer profile is given up."""
PROGRESS_EVERY_S = 0.5

Text = Annotated[str, Meta(max_length=2 * NAME_CHARS)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Amount = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class ProfileWish(Struct, frozen=True):
    """What a worker is ordered.

    Attributes:
        seconds: How long it shall take.
        is_whole: Count what waits, too.
        is_of_memory: Compare the memory before and after instead.
    """

    seconds: float
    is_whole: bool = False
    is_of_memory: bool = False


class Sampled(Struct, frozen=True, tag="sampled"):
    """How far a profile is.

    Attributes:
        samples: Taken so far.
    """

    samples: Count


class MemoryLine(Struct, frozen=True, array_like=True):
    """What one line of code has allocated.

    Attributes:
        place: File and line.
        grown_bytes: How much more it has than before; negative: less.
        grown_count: How many more blocks.
        size_bytes: What it has now.
    """

    place: Text
    grown_bytes: Amount
    grown_count: Amount
    size_bytes: Amount


class Profiled(Struct, frozen=True, tag="profiled"):
    """A whole profile.

    Attributes:
        samples: How often the threads were looked at.
        took_s: How long that was.
        names: Of frames; a stack has their places in this list.
        stacks: Each with how often it was seen, the outermost frame first.
        waiting: Stacks seen that only waited, and are not among those.
        own_cpu_s: What the profile itself has cost.
        memory: What grew most, for a profile of the memory.
        failure: Why there is none; "" when there is one.
    """

    samples: Count = 0
    took_s: float = 0.0
    names: Annotated[list[Text], Meta(max_length=200_000)] = []
    stacks: Annotated[
        list[tuple[list[Count], Count]], Meta(max_length=STACK_COUNT + 1)
    ] = []
    waiting: Count = 0
    own_cpu_s: float = 0.0
    memory: Annotated[list[MemoryLine], Meta(max_length=LINE_COUNT)] = []
    failure: Text = ""


_decoder: msgspec.json.Decoder[Sampled | Profiled] = msgspec.json.Decoder(
    Sampled | Profiled
)


def parse_profile(line: bytes) -> Sampled | Profiled:
    """Read one line of a worker, which runs foreign code.

    Raises:
        ValueError: It is nothing that a worker sends.
    """
    try:
        said = _decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if isinstance(said, Profiled):
        most = len(said.names)
        if any(place >= most for stack, _ in said.stacks for place in stack):
            message = "a stack has a frame without a name"
            raise ValueError(message)
    return said
