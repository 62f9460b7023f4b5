from pathlib import Path

from blazeio.content.representation import Representation, Validators
from blazeio.files.delivery import identify
from blazeio.files.static_cache import (
    ENTRY_BYTES,
    LOOK_AGAIN_S,
    CachedFile,
    FileCache,
    Variant,
)


def variant(size: int) -> Variant:
    found = Representation("text/plain", size, Validators('"a"', 0))
    return Variant(found, bytes(size))


def keep(memory: FileCache, home: Path, name: str, size: int = 1000) -> CachedFile:
    (home / name).write_bytes(bytes(size))
    identity = identify(str(home), f"/{name}")
    assert identity is not None
    return memory.add(f"/{name}", identity, variant(size))


def test_what_is_kept_is_recalled_while_the_file_is_the_same(home: Path) -> None:
    at = 0.0
    memory = FileCache(str(home), 10_000, lambda: at)
    known = keep(memory, home, "a")
    at = LOOK_AGAIN_S
    assert memory.get("/a") is known
    (home / "a").write_bytes(bytes(999))
    at = 1.99 * LOOK_AGAIN_S  # it was just looked at
    assert memory.get("/a") is known
    at = 2.01 * LOOK_AGAIN_S
    assert memory.get("/a") is None
    assert (len(memory), memory.cached_bytes) == (0, 0)


def test_what_others_may_stand_for_is_used_for_a_short_time(home: Path) -> None:
    at = 0.0
    memory = FileCache(str(home), 10_000, lambda: at)
    identity = keep(memory, home, "a").identity
    known = memory.add("/a", identity, variant(10), key="/a gzip", is_alone=False)
    at = 0.99 * LOOK_AGAIN_S
    assert memory.get("/a gzip") is known
    at = LOOK_AGAIN_S
    assert memory.get("/a gzip") is None
    assert memory.get("/a") is not None


def test_what_was_not_asked_for_the_longest_leaves(home: Path) -> None:
    memory = FileCache(str(home), 2 * (1000 + 4 + ENTRY_BYTES))
    keep(memory, home, "a")
    keep(memory, home, "b")
    memory.get("/a")
    keep(memory, home, "c")
    assert "/b" not in memory
    assert "/a" in memory
    assert memory.cached_bytes == memory.most_bytes


def test_a_file_kept_again_counts_once(home: Path) -> None:
    memory = FileCache(str(home), 10_000)
    keep(memory, home, "a")
    keep(memory, home, "a", 500)
    assert memory.cached_bytes == 500 + 4 + ENTRY_BYTES


def test_a_variant_counts_unless_it_is_the_file_itself(home: Path) -> None:
    memory = FileCache(str(home), 10_000)
    known = keep(memory, home, "a")
    before = memory.cached_bytes
    assert known.plain is not None
    memory.add_encoded("/a", known, "br", known.plain)
    assert memory.cached_bytes == before
    memory.add_encoded("/a", known, "gzip", variant(100))
    assert memory.cached_bytes == before + 100 + ENTRY_BYTES


def test_a_variant_of_what_has_left_counts_nothing(home: Path) -> None:
    memory = FileCache(str(home), 10_000)
    known = keep(memory, home, "a")
    keep(memory, home, "a", 500)
    before = memory.cached_bytes
    memory.add_encoded("/a", known, "gzip", variant(100))
    assert memory.cached_bytes == before


def test_the_fields_are_serialized_when_it_is_kept() -> None:
    assert variant(1).lines.startswith(b"Content-Type: text/plain\r\nETag: ")
