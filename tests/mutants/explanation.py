"""What is said of mutants that may survive."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explained:
    """Some mutants, and why they may survive."""

    why: str
    place: str
    owner: str
    changes: tuple[str, ...]
