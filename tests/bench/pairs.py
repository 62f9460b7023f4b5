"""Ratios of what was measured in the same round, so that a busy machine hits both."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Samples = Mapping[str, Sequence[float]]
"""By the name of who was measured: one figure a round, in the order of the rounds."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of paired ratios, and how far they are spread."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.least:.2f}-{self.most:.2f}]"


def pair(figures: Sequence[float], base: Sequence[float]) -> Ratio:
    """Divide each figure by the base's of the same round."""
    ratios = [one / other for one, other in zip(figures, base, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def take_rounds(
    takers: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Measure each in turn, again and again; an unmeasured round warms them up."""
    for take in takers.values():
        take()
    samples: dict[str, list[float]] = {name: [] for name in takers}
    for _ in range(rounds):
        for name, take in takers.items():
            samples[name].append(take())
    return samples
