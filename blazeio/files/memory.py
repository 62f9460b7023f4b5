"""Contents of files in a bounded memory; what was not asked for longest leaves.

May import: blazeio.content, blazeio.files.
"""

from collections import OrderedDict

from msgspec import Struct, field

from blazeio.content.selection.selection import Representation
from blazeio.files.containment import Identity, identify
from blazeio.files.delivery import serialize_lines

ENTRY_BYTES = 512
"""About what one entry costs beside its content and its path."""


class Variant:
    """A file as it is sent, in one content coding or in none.

    Attributes:
        found: What it is.
        content: All of it.
        lines: Its fields, serialized.
    """

    __slots__ = ("content", "found", "lines")

    def __init__(self, found: Representation, content: bytes) -> None:
        self.found = found
        self.content = content
        self.lines = serialize_lines(found)


class KnownFile(Struct):
    """A file that was looked at.

    Attributes:
        identity: When it was.
        plain: As it is; None when it is too large to be kept.
        encoded: By content coding; ``plain`` where encoding does not pay.
        cost_bytes: What it counts of the memory.
    """

    identity: Identity
    plain: Variant | None
    cost_bytes: int
    encoded: dict[str, Variant] = field(default_factory=dict)

    @property
    def modified_ns(self) -> int:
        """When the file was last changed, Unix time."""
        return self.identity[2]


class FileMemory:
    """Files below a folder, by their path.

    Args:
        home: The folder, absolute and without symbolic links.
        most_bytes: Most octets kept.

    Attributes:
        kept_bytes: Octets kept now.
    """

    __slots__ = ("_home", "_known", "kept_bytes", "most_bytes")

    def __init__(self, home: str, most_bytes: int) -> None:
        self._home = home
        self._known: OrderedDict[str, KnownFile] = OrderedDict()  # latest asked: last
        self.most_bytes = most_bytes
        self.kept_bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, path: object) -> bool:
        return path in self._known

    def recall(self, path: str) -> KnownFile | None:
        """What is known of a file, if it is still that; one system call."""
        # Hot: runs once per request; most of it is the system call.
        known = self._known.get(path)
        if known is None:
            return None
        if known.identity != identify(self._home, path):
            self._forget(path)
            return None
        self._known.move_to_end(path)
        return known

    def keep(self, path: str, identity: Identity, plain: Variant | None) -> KnownFile:
        """Remember a file."""
        if path in self._known:
            self._forget(path)
        size = len(plain.content) if plain is not None else 0
        known = KnownFile(identity, plain, size + 2 * len(path) + ENTRY_BYTES)
        self._known[path] = known
        self._count(known.cost_bytes)
        return known

    def keep_encoded(
        self, path: str, known: KnownFile, coding: str, variant: Variant
    ) -> None:
        """Remember what a file is in a content coding."""
        known.encoded[coding] = variant
        if variant is known.plain or self._known.get(path) is not known:
            return
        cost_bytes = len(variant.content) + ENTRY_BYTES
        known.cost_bytes += cost_bytes
        self._count(cost_bytes)

    def _count(self, cost_bytes: int) -> None:
        self.kept_bytes += cost_bytes
        while self.kept_bytes > self.most_bytes:
            self._forget(next(iter(self._known)))

    def _forget(self, path: str) -> None:
        self.kept_bytes -= self._known.pop(path).cost_bytes
