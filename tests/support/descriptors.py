"""What other processes have open."""

import os
from contextlib import suppress


def list_open(pid: int) -> set[str]:
    """Give what each descriptor leads to; one that is closed meanwhile is left out."""
    folder = f"/proc/{pid}/fd"
    found = set()
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"{folder}/{name}"))
    return found
