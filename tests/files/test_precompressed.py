import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from blazeio.files.delivery import open_file
from blazeio.files.static_cache import LONGEST_CACHED_BYTES, choose, open_variant

Answer = tuple[bytes, str | None, bool]


@pytest.fixture
def answer_to(home: Path) -> Callable[..., Answer]:
    """Content, coding and whether it was a choice, to an Accept-Encoding."""
    (home / "x.html").write_bytes(b"plain")

    def ask(likes: str | None, name: str = "/x.html") -> Answer:
        opener = partial(open_file, str(home))
        opened = opener(name)
        assert opened is not None
        opened, found = open_variant(opened, name, likes, opener)
        with opened.file as file:
            return file.read(), found.coding, found.is_negotiated

    return ask


def test_the_sibling_that_the_client_likes_is_sent(
    home: Path, answer_to: Callable[..., Answer]
) -> None:
    for suffix in ("br", "gz", "zst"):
        (home / f"x.html.{suffix}").write_text(suffix)
    assert answer_to("gzip") == (b"gz", "gzip", True)
    assert answer_to("gzip, br") == (b"br", "br", True)
    assert answer_to("gzip, br;q=0.5") == (b"gz", "gzip", True)
    assert answer_to("zstd, gzip") == (b"zst", "zstd", True)
    assert answer_to("identity") == (b"plain", None, True)
    assert answer_to(None) == (b"plain", None, True)


def test_where_there_is_none_the_next_best_is_sent(
    home: Path, answer_to: Callable[..., Answer]
) -> None:
    assert answer_to("br, gzip") == (b"plain", None, True)
    (home / "x.html.gz").write_text("gz")
    assert answer_to("br, gzip") == (b"gz", "gzip", True)


def test_one_that_is_older_than_the_file_is_none(
    home: Path, answer_to: Callable[..., Answer]
) -> None:
    (home / "x.html.gz").write_text("gz")
    os.utime(home / "x.html.gz", (1, 1))
    assert answer_to("gzip") == (b"plain", None, True)


def test_of_what_cannot_be_compressed_there_is_none(
    home: Path, answer_to: Callable[..., Answer]
) -> None:
    (home / "x.png").write_text("plain")
    (home / "x.png.gz").write_text("gz")
    assert answer_to("gzip", "/x.png") == (b"plain", None, False)


def test_a_sibling_outside_is_none(
    home: Path, tmp_path: Path, answer_to: Callable[..., Answer]
) -> None:
    (home / "x.html.gz").symlink_to(tmp_path / "secret.txt")
    assert answer_to("gzip") == (b"plain", None, True)


def test_a_long_wish_is_heard_and_not_kept() -> None:
    likes = "gzip," + "x," * LONGEST_CACHED_BYTES
    assert choose(likes, ("br", "gzip")) == "gzip"
