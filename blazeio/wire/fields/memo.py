"""A bounded memo that a stranger can neither grow nor make useless.

May import: nothing of blazeio.
"""

from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Memo(Generic[_Key, _Value]):
    """Keep what was computed lately, in two generations.

    When the recent generation is full it becomes the former one and a new one
    begins; what is still asked for moves over on its next use. So a peer who
    sends endless distinct keys costs one insertion each, and what others use
    survives as long as it is used once in ``capacity`` insertions. (A memo
    that stops when full is dead for ever after ``capacity`` junk keys; one
    that is cleared when full forgets everything at each turn.)

    A look-up reads ``recent`` and, on a miss, calls ``recall``: two steps, since
    the first is all that a hot path needs.

    Args:
        capacity: Keys of one generation; at most twice as many are kept.
    """

    __slots__ = ("_former", "capacity", "recent")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.recent: dict[_Key, _Value] = {}
        self._former: dict[_Key, _Value] = {}

    def recall(self, key: _Key) -> _Value | None:
        """Return what the former generation kept, moving it into the recent one."""
        value = self._former.get(key)
        if value is not None:
            self.keep(key, value)
        return value

    def keep(self, key: _Key, value: _Value) -> None:
        """Keep ``value``; the former generation is dropped when this one is full."""
        if len(self.recent) >= self.capacity:
            self._former = self.recent
            self.recent = {}
        self.recent[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.recent = {}
        self._former = {}

    def __len__(self) -> int:
        return len(self.recent.keys() | self._former.keys())
