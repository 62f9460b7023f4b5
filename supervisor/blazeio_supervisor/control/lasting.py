"""Answers that last: those who follow the events, or wait for the end of something.

Each holds a connection for as long as it likes, so there is a bound of their own:
the other verbs are always answered.
"""

from collections.abc import Iterator
from contextlib import contextmanager

LASTING_COUNT = 24
"""How many may be under way at once."""


class RefusedError(Exception):
    """An order is not carried out.

    Args:
        reason: One line for whoever gave it.
        status: 400 when the order is wrong in itself, 503 when there are too many
            of its kind, else 409.
    """

    def __init__(self, reason: str, status: int = 409) -> None:
        super().__init__(reason)
        self.status = status


class Lasting:
    """Those that are under way."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def answer(self) -> Iterator[None]:
        """Count one while it lasts.

        Raises:
            RefusedError: There are too many.
        """
        if self._count >= LASTING_COUNT:
            text = (
                f"{LASTING_COUNT} are following events or waiting for the end of an "
                "order: end one of them"
            )
            raise RefusedError(text, 503)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
