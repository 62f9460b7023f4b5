"""What every fuzzer of decoders shares: changing octets, trying them, the command."""

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from tests.support.clock import scaled

Decode = Callable[[bytes, random.Random], None]
"""Reads octets; what it raises is a finding."""


def change(
    octets: bytes,
    chance: random.Random,
    seeds: Sequence[bytes],
    pieces: Sequence[bytes],
    longest_bytes: int,
) -> bytes:
    """Change octets in a few places.

    Args:
        octets: What a peer may send.
        chance: Decides what becomes of it.
        seeds: Whole inputs, put into others.
        pieces: What may confuse a decoder.
        longest_bytes: The rest of a longer result is cut.
    """
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(octets) + 1)
        end = min(at + chance.choice((0, 0, 1, 2, 10, 100)), len(octets))
        match chance.randrange(5):
            case 0:
                piece = chance.choice(pieces) * chance.choice((1, 1, 2, 50, 1500))
            case 1:
                piece = octets[at:end] * chance.choice((2, 3, 50, 2000))
            case 2:
                piece = chance.randbytes(chance.choice((1, 1, 2, 20)))
            case 3:
                piece = chance.choice(seeds)
            case _:
                piece = b""
        octets = (octets[:at] + piece + octets[end:])[:longest_bytes]
    return octets


def cut(octets: bytes, chance: random.Random) -> list[bytes]:
    """Cut octets into some pieces."""
    marks = sorted(chance.randrange(len(octets) + 1) for _ in range(5))
    ends = [*marks, len(octets)]
    return [octets[a:b] for a, b in zip([0, *marks], ends, strict=True)]


def try_inputs(
    name: str,
    decode: Decode,
    draw: Callable[[random.Random], bytes],
    *,
    seconds: float,
    seed: int,
    slowest_s: float,
) -> int:
    """Give random inputs to one decoder for a while, one at least.

    Returns:
        How many there were.

    Raises:
        AssertionError: A finding, with the seed and the octets.
    """
    chance = random.Random(seed)
    ends_at = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends_at or not count:
        octets = draw(chance)
        count += 1
        began_at = time.thread_time()
        try:
            decode(octets, chance)
        except Exception as error:
            message = f"{name}, seed {seed}, input {count}: {octets!r}"
            raise AssertionError(message) from error
        took_s = time.thread_time() - began_at
        assert took_s < scaled(slowest_s), f"{name}: {took_s:.1f} s for {octets!r}"
    return count


def run(
    program: str,
    names: Iterable[str],
    fuzz: Callable[[str, float, int], int],
    converse: Callable[[float, int], Awaitable[int]],
) -> None:
    """Fuzz each decoder, then whole conversations, for its share of the time.

    The first finding ends it.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    names = list(names)
    share_s = options.seconds / (len(names) + 1)
    for name in names:
        count = fuzz(name, share_s, options.seed)
        print(f"{name}: {count} inputs, nothing found (seed {options.seed})")

    async def talk() -> int:
        return await converse(share_s, options.seed)

    count = asyncio.run(talk())
    print(f"conversations: {count}, nothing found (seed {options.seed})")
